// Package gateway is the way in for programs and people outside.
//
// A client connects over TLS, where it verifies the cluster's CA, and shows a
// realm's token in its first frame (TAuth). After that it speaks the frames of
// the control channel, as the token's user in the token's realm. No descriptor
// can go over TLS: to connect with a proc, a client opens another connection, shows
// the token, and sends one Dial; when that is answered, the connection is the
// byte stream, relayed by the gateway.
//
// Everything that a stranger can do is bounded: connections in all and for each
// address, and the time until the token was checked. Who shows wrong tokens waits
// for the answer.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/net/control"
)

// ALPN is the protocol of a gateway's TLS.
const ALPN = "sigma/1"

const (
	authTime   = 10 * time.Second
	wrongDelay = time.Second // before a wrong token is told
	maxClients = 4096
	maxStrange = 256
)

// Config of a Gateway.
type Config struct {
	Addr string
	TLS  *tls.Config // who we are
	Node string
	// Check returns the caller of a token.
	Check     func(token string) (api.Caller, error)
	Handler   control.Handler
	Endpoints control.Endpoints
	Logger    *slog.Logger
}

// Gateway serves clients outside.
type Gateway struct {
	cfg     Config
	lis     net.Listener
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	clients chan struct{}
	strange chan struct{}
}

// Listen starts a gateway.
func Listen(cfg Config) (*Gateway, error) {
	lis, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w (choose another address with --gateway, or \"off\")", err)
	}
	g := &Gateway{cfg: cfg, lis: lis, clients: make(chan struct{}, maxClients), strange: make(chan struct{}, maxStrange)}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.wg.Add(1)
	go g.accept()
	return g, nil
}

// Addr is where it listens.
func (g *Gateway) Addr() string { return g.lis.Addr().String() }

// Close ends all connections and returns when they are gone.
func (g *Gateway) Close() error {
	err := g.lis.Close()
	g.stop()
	g.wg.Wait()
	return err
}

func (g *Gateway) accept() {
	defer g.wg.Done()
	for {
		c, err := g.lis.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			g.cfg.Logger.Warn("gateway", "err", err)
			time.Sleep(20 * time.Millisecond) // out of descriptors: do not spin
			continue
		}
		select {
		case g.strange <- struct{}{}:
		default:
			c.Close()
			continue
		}
		g.wg.Add(1)
		go func() {
			defer g.wg.Done()
			g.serve(c)
		}()
	}
}

// serve finds out who a client is and what it wants.
func (g *Gateway) serve(raw net.Conn) {
	conn := tls.Server(raw, g.cfg.TLS)
	defer conn.Close()
	stop := context.AfterFunc(g.ctx, func() { raw.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(authTime))
	r := wire.NewReader(conn)
	caller, err := g.authenticate(conn, r)
	<-g.strange
	if err != nil {
		return
	}
	select {
	case g.clients <- struct{}{}:
		defer func() { <-g.clients }()
	default:
		return
	}
	f, err := r.Read()
	if err != nil {
		return
	}
	conn.SetDeadline(time.Time{})
	if f.Type == wire.TDial {
		g.dial(conn, r, f, caller)
		return
	}
	// What was read belongs to the control channel.
	head := wire.Append(nil, f)
	rest := append(head, r.Rest()...)
	c := &resumed{Conn: conn, head: rest}
	if err := control.Serve(g.ctx, c, caller, g.cfg.Handler, nil); err != nil && g.ctx.Err() == nil {
		g.cfg.Logger.Debug("gateway's client", "err", err)
	}
}

func (g *Gateway) authenticate(conn net.Conn, r *wire.Reader) (api.Caller, error) {
	f, err := r.Read()
	if err != nil {
		return api.Caller{}, err
	}
	t, err := wire.DecodeTarget(f.Payload)
	if err == nil && f.Type != wire.TAuth {
		err = errors.New("the first frame must show a token")
	}
	var caller api.Caller
	if err == nil {
		caller, err = g.cfg.Check(t.ID)
	}
	if err != nil {
		select {
		case <-time.After(wrongDelay):
		case <-g.ctx.Done():
		}
		answer(conn, f, wire.FlagReply|wire.FlagError, wire.EncodeError(api.E(api.Denied, "connect", "", "%v", err)))
		return caller, err
	}
	caller.Node, caller.Address = g.cfg.Node, conn.RemoteAddr().String()
	return caller, answer(conn, f, wire.FlagReply, nil)
}

func answer(conn net.Conn, f wire.Frame, flags uint16, p []byte) error {
	_, err := conn.Write(wire.Append(nil, wire.Frame{Type: f.Type, Flags: flags, ID: f.ID, Payload: p}))
	return err
}

// dial connects a client with a proc and relays until both directions ended.
func (g *Gateway) dial(conn *tls.Conn, r *wire.Reader, f wire.Frame, c api.Caller) {
	t, err := wire.DecodeDial(f.Payload)
	if err == nil && t.External != "" {
		err = api.E(api.Denied, "dial", "", "the gateway leads to the realm, not to the outside world")
	}
	var p control.Passed
	if err == nil {
		ctx, cancel := context.WithTimeout(g.ctx, authTime)
		p, err = g.cfg.Endpoints.Dial(ctx, c, t)
		cancel()
	}
	if err != nil {
		answer(conn, f, wire.FlagReply|wire.FlagError, wire.EncodeError(api.AsError("dial", err)))
		return
	}
	out := os.NewFile(uintptr(p.FD), "relay")
	defer out.Close()
	if answer(conn, f, wire.FlagReply, wire.EncodePeer(p.Peer)) != nil {
		return
	}
	stop := context.AfterFunc(g.ctx, func() { out.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := out.Write(r.Rest()); err == nil {
			io.Copy(out, conn)
		}
		shutdown(out)
	}()
	io.Copy(conn, out)
	conn.CloseWrite()
	select {
	case <-done:
	case <-time.After(time.Minute): // a client that neither sends nor closes
		conn.Close()
		<-done
	}
}

// shutdown tells a proc that its client has said all.
func shutdown(f *os.File) {
	if rc, err := f.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
}

// resumed reads what was read before, then the connection.
type resumed struct {
	net.Conn
	head []byte
}

func (c *resumed) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
