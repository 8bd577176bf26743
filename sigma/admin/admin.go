// Package admin is how programs outside σOS reach it: the operator's tools on
// the node itself. A [Client] is a sigma.Client and the calls of api/admin.go.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/net/fdpass"
	"sigmaos/sigma"
	"sigmaos/sigma/outside"
)

// Options say which cluster and realm; empty ones come from SIGMA_CONTEXT and
// SIGMA_REALM.
type Options struct {
	Context string // a cluster's name, the path of its socket, or a realm's token file
	Realm   string // "default" where nothing else is said; "-" is none
}

// Client is a connection that acts in one realm.
type Client struct {
	*sigma.Client
	opt Options
}

// runRoot is where the clusters of this machine have their directories.
func runRoot() string {
	if d := os.Getenv("SIGMA_RUN"); d != "" {
		return d
	}
	return "/run/sigma"
}

// Connect reaches a cluster and enters the realm.
func Connect(ctx context.Context, o Options) (*Client, error) {
	if o.Context == "" {
		o.Context = os.Getenv("SIGMA_CONTEXT")
	}
	if o.Realm == "" {
		o.Realm = os.Getenv("SIGMA_REALM")
	}
	if o.Realm == "" {
		o.Realm = "default"
	}
	if st, err := os.Stat(o.Context); err == nil && st.Mode().IsRegular() {
		c, f, err := outside.Connect(ctx, o.Context)
		if err != nil {
			return nil, err
		}
		if o.Realm != "default" && o.Realm != "-" && o.Realm != f.Realm {
			c.Close()
			return nil, api.E(api.Denied, "realm", o.Realm, "the token in %s is for realm %s", o.Context, f.Realm)
		}
		return &Client{Client: c, opt: o}, nil
	}
	conn, err := dial(ctx, o.Context)
	if err != nil {
		return nil, err
	}
	fc, err := fdpass.FromUnix(conn.(*net.UnixConn), fdpass.Take)
	if err != nil {
		return nil, api.E(api.Unavailable, "connect", o.Context, "%v", err)
	}
	c := &Client{Client: sigma.NewClient(fc), opt: o}
	if o.Realm != "-" {
		err := c.Stream(ctx, wire.TRealm, wire.Target{ID: o.Realm}.Encode(), func([]byte) error { return nil })
		if err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

func dial(ctx context.Context, name string) (net.Conn, error) {
	var d net.Dialer
	if name != "" {
		path := name
		if !strings.Contains(name, "/") {
			path = filepath.Join(runRoot(), name, "sock")
		}
		conn, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, api.E(api.Unavailable, "connect", name, "%s", reason(err))
		}
		return conn, nil
	}
	socks, _ := filepath.Glob(filepath.Join(runRoot(), "*", "sock"))
	sort.Strings(socks)
	var conns []net.Conn
	var names []string
	var last error
	for _, s := range socks {
		conn, err := d.DialContext(ctx, "unix", s)
		if err != nil {
			last = err
			continue
		}
		conns = append(conns, conn)
		names = append(names, filepath.Base(filepath.Dir(s)))
	}
	if len(conns) == 1 {
		return conns[0], nil
	}
	for _, c := range conns {
		c.Close()
	}
	switch {
	case len(conns) > 1:
		return nil, api.E(api.Invalid, "connect", "", "several clusters run here: %s; choose one with --context or SIGMA_CONTEXT", strings.Join(names, ", "))
	case errors.Is(last, os.ErrPermission):
		return nil, api.E(api.Denied, "connect", "", "the operator's socket is for root; use sudo")
	}
	if os.Geteuid() != 0 {
		return nil, api.E(api.Unavailable, "connect", "", "no cluster found; the operator's socket is for root: use sudo, or set SIGMA_CONTEXT")
	}
	return nil, api.E(api.Unavailable, "connect", "", "no cluster runs on this machine; start one with: sigmad dev")
}

func reason(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "no such cluster (no socket there); is sigmad running?"
	case errors.Is(err, os.ErrPermission):
		return "the operator's socket is for root; use sudo"
	}
	return fmt.Sprintf("sigmad does not answer: %v", err)
}

// Call asks for one JSON answer; out may be nil.
func (c *Client) Call(ctx context.Context, method string, in, out any) error {
	return c.stream(ctx, method, in, nil, func(a wire.Call) error {
		if out == nil || len(a.Body) == 0 {
			return nil
		}
		return json.Unmarshal(a.Body, out)
	})
}

func (c *Client) stream(ctx context.Context, method string, in any, data []byte, fn func(wire.Call) error) error {
	call := wire.Call{Method: method, Data: data}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		call.Body = b
	}
	return c.Stream(ctx, wire.TCall, call.Encode(), func(p []byte) error {
		a, err := wire.DecodeCall(p)
		if err != nil {
			return err
		}
		return fn(a)
	})
}

// Info describes the cluster and the node.
func (c *Client) Info(ctx context.Context) (i api.ClusterInfo, err error) {
	return i, c.Call(ctx, api.MInfo, nil, &i)
}

// Procs lists procs.
func (c *Client) Procs(ctx context.Context, f api.ProcFilter) (p []api.ProcInfo, err error) {
	return p, c.Call(ctx, api.MProcs, f, &p)
}

// Why explains one.
func (c *Client) Why(ctx context.Context, id string) (w api.Why, err error) {
	return w, c.Call(ctx, api.MWhy, api.Ref{Name: id}, &w)
}

// Logs gives a proc's output to fn in order.
func (c *Client) Logs(ctx context.Context, q api.LogQuery, fn func(r api.LogRecord, data []byte) error) error {
	return c.stream(ctx, api.MLogs, q, nil, func(a wire.Call) error {
		if len(a.Body) == 0 {
			return nil
		}
		var r api.LogRecord
		if err := json.Unmarshal(a.Body, &r); err != nil {
			return err
		}
		return fn(r, a.Data)
	})
}

// CreateRealm makes a realm.
func (c *Client) CreateRealm(ctx context.Context, r api.Realm) (made api.Realm, err error) {
	return made, c.Call(ctx, api.MRealmCreate, r, &made)
}

// RemoveRealm ends everything in a realm and forgets it.
func (c *Client) RemoveRealm(ctx context.Context, name string) error {
	return c.Call(ctx, api.MRealmRemove, api.Ref{Name: name}, nil)
}

const uploadPiece = 128 << 10

// Upload puts a program into the realm under name ("" by digest alone) and
// sends nothing when the realm has the digest.
func (c *Client) Upload(ctx context.Context, f io.Reader, name, digest string, size int64) (p api.Program, sent int64, err error) {
	var st api.PutState
	if err := c.Call(ctx, api.MPutBegin, api.PutBegin{Name: name, Digest: digest, Size: size}, &st); err != nil {
		return p, 0, err
	}
	if st.Known {
		return api.Program{Name: name, Digest: digest, Size: size}, 0, nil
	}
	buf := make([]byte, uploadPiece)
	for {
		n, rerr := io.ReadFull(f, buf)
		if n > 0 {
			err := c.stream(ctx, api.MPutData, st, buf[:n], func(wire.Call) error { return nil })
			if err != nil {
				return p, sent, err
			}
			sent += int64(n)
		}
		if rerr == io.EOF || rerr == io.ErrUnexpectedEOF {
			break
		}
		if rerr != nil {
			return p, sent, rerr
		}
	}
	return p, sent, c.Call(ctx, api.MPutEnd, st, &p)
}

// InRealm connects to the same cluster in another realm.
func (c *Client) InRealm(ctx context.Context, realm string) (*Client, error) {
	o := c.opt
	o.Realm = realm
	return Connect(ctx, o)
}

// WaitLong bounds what tools wait for an answer that needs no wait.
const WaitLong = 30 * time.Second
