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
// for the answer. Of those who are known, each realm has so many connections.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/clock"
	"sigmaos/internal/lasting"
	"sigmaos/net/control"
	"sigmaos/net/crowd"
	"sigmaos/net/port/quiet"
)

// ALPN is the protocol of a gateway's TLS.
const ALPN = "sigma/1"

// Config of a Gateway; 0 is the default. D is the process's limit of
// descriptors, of which a client that is relayed needs two.
type Config struct {
	Addr string
	TLS  *tls.Config // who we are
	Node string
	// Check returns the caller of a token.
	Check     func(token string) (api.Caller, error)
	Handler   control.Handler
	Endpoints control.Endpoints
	Logger    *slog.Logger

	AuthTime   time.Duration // until a token must be there, and for a dial; default 10 s
	WrongDelay time.Duration // before a wrong token is told; default 1 s
	// A client whose proc has said all may be silent for so long (default 5 min),
	// and send for so long after it is gone (default 5 s).
	Quiet, Linger time.Duration
	// Connections without a token: in all, by default 256 or D/64; of an address
	// (of IPv6: its /64), an eighth.
	Strangers, StrangersEach int
	// Connections with one: in all, by default 4,096 or D/16; of a realm, a quarter.
	Clients, ClientsEach int
}

func (c *Config) fill() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = max(d, 1)
		}
	}
	last := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	last(&c.AuthTime, 10*time.Second)
	last(&c.WrongDelay, time.Second)
	last(&c.Quiet, 5*time.Minute)
	last(&c.Linger, 5*time.Second)
	fds := descriptors()
	def(&c.Strangers, min(256, fds/64))
	def(&c.StrangersEach, c.Strangers/8)
	def(&c.Clients, min(4096, fds/16))
	def(&c.ClientsEach, c.Clients/4)
}

// descriptors is how many this process may have.
func descriptors() int {
	var r unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return int(min(r.Cur, 1<<30))
}

// Gateway serves clients outside.
type Gateway struct {
	cfg     Config
	lis     net.Listener
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	strange *crowd.Crowd // by address
	clients *crowd.Crowd // by realm
}

// Listen starts a gateway.
func Listen(cfg Config) (*Gateway, error) {
	lis, err := lasting.Listen(net.ListenConfig{}, cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w (choose another address with --gateway, or \"off\")", err)
	}
	cfg.fill()
	cfg.Logger = quiet.New(cfg.Logger, clock.Real()) // strangers make it write
	g := &Gateway{cfg: cfg, lis: lis, strange: crowd.New(cfg.Strangers, cfg.StrangersEach), clients: crowd.New(cfg.Clients, cfg.ClientsEach)}
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
		from := crowd.AddressOf(c)
		if !g.strange.Enter(from) {
			c.Close()
			continue
		}
		g.wg.Add(1)
		go func() {
			defer g.wg.Done()
			g.serve(c, from)
		}()
	}
}

// serve finds out who a client is and what it wants.
func (g *Gateway) serve(raw net.Conn, from string) {
	conn := tls.Server(raw, g.cfg.TLS)
	defer conn.Close()
	stop := context.AfterFunc(g.ctx, func() { raw.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(g.cfg.AuthTime))
	r := wire.NewReader(conn)
	caller, err := g.admit(conn, r)
	g.strange.Leave(from)
	if err != nil {
		return
	}
	defer g.clients.Leave(caller.Realm)
	// Who is known may be silent: a program asks when it wants to.
	conn.SetDeadline(time.Time{})
	f, err := r.Read()
	if err != nil {
		return
	}
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

// admit makes a stranger a client of its realm and tells it so.
func (g *Gateway) admit(conn *tls.Conn, r *wire.Reader) (api.Caller, error) {
	f, err := r.Read()
	if err != nil {
		return api.Caller{}, err
	}
	caller, err := g.authenticate(f)
	if err == nil && !g.clients.Enter(caller.Realm) {
		err = api.E(api.Busy, "connect", "", "the realm, or all together, have their connections with this gateway; close some, or use another")
	}
	if err != nil {
		answer(conn, f, wire.FlagReply|wire.FlagError, wire.EncodeError(api.AsError("connect", err)))
		return caller, err
	}
	caller.Node, caller.Address = g.cfg.Node, conn.RemoteAddr().String()
	if err = answer(conn, f, wire.FlagReply, nil); err != nil {
		g.clients.Leave(caller.Realm)
	}
	return caller, err
}

// authenticate checks the token of a first frame.
func (g *Gateway) authenticate(f wire.Frame) (caller api.Caller, err error) {
	t, err := wire.DecodeTarget(f.Payload)
	if err == nil && f.Type != wire.TAuth {
		err = errors.New("the first frame must show a token")
	}
	if err == nil {
		caller, err = g.cfg.Check(t.ID)
	}
	if err != nil {
		select {
		case <-time.After(g.cfg.WrongDelay):
		case <-g.ctx.Done():
		}
		return caller, api.E(api.Denied, "connect", "", "%v", err)
	}
	return caller, nil
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
		ctx, cancel := context.WithTimeout(g.ctx, g.cfg.AuthTime)
		p, err = g.cfg.Endpoints.Dial(ctx, c, t)
		cancel()
	}
	if err != nil {
		answer(conn, f, wire.FlagReply|wire.FlagError, wire.EncodeError(api.AsError("dial", err)))
		return
	}
	proc := os.NewFile(uintptr(p.FD), "relay")
	defer proc.Close()
	conn.SetWriteDeadline(time.Now().Add(g.cfg.AuthTime))
	if answer(conn, f, wire.FlagReply, wire.EncodePeer(p.Peer)) != nil {
		return
	}
	conn.SetWriteDeadline(time.Time{})
	relay(g.ctx, conn, r.Rest(), proc, patience{g.cfg.Quiet, g.cfg.Linger})
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
