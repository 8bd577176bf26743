package export

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/internal/lasting"
	"sigmaos/naming/ninep"
	"sigmaos/naming/view"
	"sigmaos/net/crowd"
	"sigmaos/net/port/quiet"
)

// Source is a view's, with an end.
type Source interface {
	view.Source
	io.Closer
}

// Config of a Listener; 0 is the default.
type Config struct {
	Addr string
	From []netip.Prefix // whose connections are taken
	Node string
	// Check returns the caller of a token. It is asked again while the caller is
	// served.
	Check func(token string) (api.Caller, error)
	Open  func(c api.Caller) Source
	Log   *slog.Logger

	AttachTime time.Duration // until a token must have been shown; default 10 s
	WrongDelay time.Duration // before a wrong one is told; default 1 s
	Recheck    time.Duration // between two looks at a token that is in use; default 2 s
	// Connections without a token: in all (default 128), of an address (of IPv6: its
	// /64; default 16). With one: in all (default 256), of a realm (default 64).
	Strangers, StrangersEach int
	Clients, ClientsEach     int
}

func (c *Config) fill() {
	def(&c.AttachTime, 10*time.Second)
	def(&c.WrongDelay, time.Second)
	def(&c.Recheck, 2*time.Second)
	def(&c.Strangers, 128)
	def(&c.StrangersEach, 16)
	def(&c.Clients, 256)
	def(&c.ClientsEach, 64)
}

func def[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

// Listener serves realms to machines of a node's network.
type Listener struct {
	cfg     Config
	lis     net.Listener
	ctx     context.Context
	stop    context.CancelFunc
	done    chan struct{}
	strange *crowd.Crowd // by address
	clients *crowd.Crowd // by realm
}

// Listen begins to serve.
func Listen(cfg Config) (*Listener, error) {
	cfg.fill()
	lis, err := lasting.Listen(net.ListenConfig{}, cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("gateway-9p: %w", err)
	}
	cfg.Log = quiet.New(cfg.Log, clock.Real()) // strangers make it write
	l := &Listener{
		cfg: cfg, lis: lis, done: make(chan struct{}),
		strange: crowd.New(cfg.Strangers, cfg.StrangersEach), clients: crowd.New(cfg.Clients, cfg.ClientsEach),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	go func() {
		defer close(l.done)
		accept(lis, cfg.Log, l.admit)
	}()
	return l, nil
}

// Addr is where it listens.
func (l *Listener) Addr() string { return l.lis.Addr().String() }

// Close ends all connections and returns when they are gone.
func (l *Listener) Close() error {
	err := l.lis.Close()
	l.stop()
	<-l.done
	return err
}

// admit returns what serves a connection; nil: nobody does.
func (l *Listener) admit(c net.Conn) func() {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil || !slices.ContainsFunc(l.cfg.From, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap()) }) {
		l.cfg.Log.Debug("9p: not from an allowed range", "from", c.RemoteAddr())
		return nil
	}
	addr := crowd.AddressOf(c)
	if !l.strange.Enter(addr) {
		return nil
	}
	return func() { l.serve(c, addr) }
}

func (l *Listener) serve(c net.Conn, addr string) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	s := &session{l: l, from: c.RemoteAddr().String(), addr: addr, ctx: ctx, end: cancel}
	late := time.AfterFunc(l.cfg.AttachTime, s.late)
	defer late.Stop()
	defer s.close()
	serve9p(ctx, c, s, bounds, l.cfg.Log)
}

// bounds keep what a realm's connections can make sigmad hold below some 150 MiB.
var bounds = ninep.Options{Requests: 64, Waiting: 256, Bytes: 2 << 20, Fids: 1 << 14, Handles: 1 << 10, Watches: 1}
