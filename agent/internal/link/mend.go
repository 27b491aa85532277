package link

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Mend says what a person can do about an error of a connection.
func Mend(err error) string {
	var unknownCA *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	var alert tls.AlertError
	var refused *RefusedTopicError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return "check username and password_file, and the broker's access list"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return "choose another client_id"
	case errors.As(err, &refused):
		return "let this user read the topic in the broker's access list"
	case errors.As(err, &unknownCA):
		return "set tls.ca_file to the authority that signed the broker's certificate, and use the host name in it"
	case errors.As(err, &noTLS):
		return "the broker speaks no TLS on this port; use tcp://, or its TLS port"
	case errors.As(err, &alert):
		return "the broker refuses our TLS; set tls.cert_file and key_file if it wants a client certificate"
	case errors.As(err, &dns):
		return "check the host's name and the name server"
	case strings.Contains(err.Error(), "refused") || errors.As(err, &timeout) && timeout.Timeout():
		return "check that the broker runs, that host and port are right, and that no firewall is between"
	}
	return "check the network and the broker"
}
