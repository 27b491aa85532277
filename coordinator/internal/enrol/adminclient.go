package enrol

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"syscall"
	"time"
)

// Admin speaks to the coordinator that runs on a data directory.
type Admin struct {
	dataDir string
	http    http.Client
}

// NewAdmin returns the client of the coordinator on dataDir, running or not.
func NewAdmin(dataDir string) *Admin {
	path := filepath.Join(dataDir, AdminSocket)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Admin{dataDir: dataDir, http: http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout:   30 * time.Second,
	}}
}

// CreateToken is Authority.CreateToken.
func (c *Admin) CreateToken(ctx context.Context, opts TokenOptions) (string, error) {
	var answer tokenAnswer
	err := c.do(ctx, http.MethodPost, "/token", tokenRequest(opts), &answer)
	return answer.Token, err
}

// Gateways is Authority.Gateways.
func (c *Admin) Gateways(ctx context.Context) ([]Gateway, error) {
	var list []Gateway
	err := c.do(ctx, http.MethodGet, "/gateways", nil, &list)
	return list, err
}

// Remove is Authority.Remove.
func (c *Admin) Remove(ctx context.Context, gateway string) error {
	if err := CheckGatewayName(gateway); err != nil {
		return err
	}
	return c.do(ctx, http.MethodDelete, "/gateway/"+url.PathEscape(gateway), nil, &struct{}{})
}

// Do asks for what is below MorePath: body, if not nil, goes as JSON, answer is
// decoded from JSON. An answer that is not 200 is an error in the coordinator's
// words.
func (c *Admin) Do(ctx context.Context, method, path string, body, answer any) error {
	return c.do(ctx, method, path, body, answer)
}

func (c *Admin) do(ctx context.Context, method, path string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://coordinator"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no coordinator is running on data_dir %q: start it with `millwright-coordinator run` and try again", c.dataDir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("speak to the coordinator on data_dir %q: %w: run this command as the coordinator's user or as root", c.dataDir, err)
	case err != nil:
		return fmt.Errorf("speak to the coordinator on data_dir %q: %w", c.dataDir, err)
	}
	defer func() { _ = resp.Body.Close() }() // all of it was read, or an error is returned
	data, err = io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the coordinator's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(data, &f) == nil && f.Error != "" {
			return errors.New(f.Error)
		}
		return fmt.Errorf("coordinator answered %s: is it of the same version as this command?", resp.Status)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read the coordinator's answer: %w", err)
	}
	return nil
}
