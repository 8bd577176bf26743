package export

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
	"sigmaos/naming/view"
)

const (
	attachTime = 10 * time.Second // until a token must have been shown
	wrongDelay = time.Second      // before a wrong one is told
	maxWrong   = 3                // on one connection
	maxCallers = 8                // that one connection may show tokens of
)

// Source is a view's, with an end.
type Source interface {
	view.Source
	io.Closer
}

// Config of a Listener.
type Config struct {
	Addr string
	From []netip.Prefix // whose connections are taken
	// Caller returns that of a token; bound says that there are no tokens: all are
	// the one that it returns for "".
	Caller func(token string) (api.Caller, error)
	Bound  bool
	Open   func(c api.Caller) Source
	Log    *slog.Logger
}

// Listener serves realms to machines of a node's network.
type Listener struct {
	cfg  Config
	lis  net.Listener
	ctx  context.Context
	stop context.CancelFunc
	done chan struct{}
}

// Listen begins to serve.
func Listen(cfg Config) (*Listener, error) {
	lis, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("gateway-9p: %w", err)
	}
	l := &Listener{cfg: cfg, lis: lis, done: make(chan struct{})}
	l.ctx, l.stop = context.WithCancel(context.Background())
	go func() {
		defer close(l.done)
		accept(lis, cfg.Log, l.serve)
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

func (l *Listener) serve(c net.Conn) {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil || !slices.ContainsFunc(l.cfg.From, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap()) }) {
		l.cfg.Log.Debug("9p: not from an allowed range", "from", c.RemoteAddr())
		c.Close()
		return
	}
	s := &session{l: l, conn: c, views: make(map[api.Caller]*opened)}
	s.late = time.AfterFunc(attachTime, func() { c.Close() })
	defer s.close()
	serve9p(l.ctx, c, s, l.cfg.Log)
}

// session is the tree of one connection: that of the caller who attaches.
type session struct {
	l    *Listener
	conn net.Conn
	late *time.Timer

	mu    sync.Mutex
	wrong int
	views map[api.Caller]*opened
}

type opened struct {
	fs  *view.FS
	src Source
}

func (s *session) close() {
	s.late.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.views {
		v.fs.Close()
		v.src.Close()
	}
}

// Attach takes the caller from the name that is attached to.
func (s *session) Attach(ctx context.Context, _ api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	token, path := "", aname
	if !s.l.cfg.Bound {
		token, path = splitName(aname)
	}
	c, err := s.caller(ctx, token)
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	f, err := v.fs.Attach(ctx, c, path, fence)
	if err == nil {
		s.late.Stop()
	}
	return f, err
}

// splitName takes the token off a name: TOKEN or TOKEN/PATH.
func splitName(aname string) (token, path string) {
	token, path, _ = strings.Cut(strings.TrimPrefix(aname, "/"), "/")
	return token, path
}

// caller checks a token. Who shows a wrong one waits for the answer, and is cut
// off after a few.
func (s *session) caller(ctx context.Context, token string) (api.Caller, error) {
	c, err := s.l.cfg.Caller(token)
	if err == nil {
		c.Address = s.conn.RemoteAddr().String()
		return c, nil
	}
	s.mu.Lock()
	s.wrong++
	over := s.wrong > maxWrong
	s.mu.Unlock()
	if over {
		s.conn.Close()
	}
	select {
	case <-time.After(wrongDelay):
	case <-ctx.Done():
	}
	return c, api.E(api.Denied, "attach", "", "%v", err)
}

func (s *session) view(c api.Caller) (*opened, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.views[c]
	if v == nil {
		if len(s.views) >= maxCallers {
			return nil, api.E(api.Busy, "attach", "", "this connection acts as %d users already", maxCallers)
		}
		src := s.l.cfg.Open(c)
		v = &opened{fs: view.New(view.Config{Source: src}), src: src}
		s.views[c] = v
	}
	return v, nil
}
