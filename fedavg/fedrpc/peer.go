package fedrpc

import (
	"context"
	"crypto/x509"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// PeerName returns the gateway at the other end of a server call and the verified
// certificate that says so. Without one it is a status error with code
// Unauthenticated, fit to be returned to the caller.
func PeerName(ctx context.Context) (gateway string, cert *x509.Certificate, err error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", nil, status.Error(codes.Unauthenticated, "call has no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return "", nil, status.Error(codes.Unauthenticated, "a gateway certificate is required; enrol first")
	}
	cert = info.State.VerifiedChains[0][0]
	if err := CheckGatewayName(cert.Subject.CommonName); err != nil {
		return "", nil, status.Errorf(codes.Unauthenticated, "certificate's common name: %v", err)
	}
	return cert.Subject.CommonName, cert, nil
}

// Refused says whether a call's error is final: the same request will never be
// accepted, so an agent drops an update instead of offering it again. These codes
// are final, and the coordinator answers nothing else with them:
//
//	InvalidArgument     an update that cannot be used: not safetensors, wrong shape, NaN, header and content differ
//	NotFound            unknown job
//	FailedPrecondition  unknown round, attempt or base model
//	OutOfRange          larger than the coordinator takes
//
// DataLoss (digest or size wrong on the way), ResourceExhausted, Unavailable and
// all others are tried again. Unauthenticated and PermissionDenied speak about
// the gateway, not about the request.
func Refused(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange:
		return true
	}
	return false
}
