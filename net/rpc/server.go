package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/api"
)

// Request is what a handler is asked.
type Request struct {
	Method string
	Body   []byte
	Peer   any // who asks: what the transport knows, never what a message says
}

// Server is a table of methods. Any number of connections can be served with it
// at the same time.
type Server struct {
	opt     Options
	mu      sync.Mutex // of those who add methods
	methods atomic.Pointer[map[string]*method]
}

// method is one of call, inline and stream.
type method struct {
	name         string
	call, inline func(ctx context.Context, req *Request) ([]byte, error)
	stream       func(ctx context.Context, s *Stream) error
}

// NewServer returns a Server without methods.
func NewServer(o Options) *Server {
	s := &Server{opt: o.normalize()}
	s.methods.Store(&map[string]*method{})
	return s
}

// Handle adds a method. fn runs in a goroutine of its own; ctx ends when the
// caller gives up, its time runs out, or the connection ends. The request is fn's
// own, and the answer is not kept. A name that is taken, empty or over 255 bytes
// is a defect of the program, and panics.
func (s *Server) Handle(name string, fn func(ctx context.Context, req *Request) ([]byte, error)) {
	s.add(&method{name: name, call: fn})
}

// HandleInline adds a method that is served by the goroutine that reads the
// connection, which saves copying and switching. fn must not block. The request
// is valid until fn returns, and ctx ends with the connection only.
func (s *Server) HandleInline(name string, fn func(ctx context.Context, req *Request) ([]byte, error)) {
	s.add(&method{name: name, inline: fn})
}

// HandleStream adds a method that is a stream; fn's return is its end.
func (s *Server) HandleStream(name string, fn func(ctx context.Context, s *Stream) error) {
	s.add(&method{name: name, stream: fn})
}

func (s *Server) add(m *method) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.methods.Load()
	if old[m.name] != nil || m.name == "" || len(m.name) > maxName {
		panic(fmt.Sprintf("rpc: the method name %q is taken, empty or too long", m.name))
	}
	methods := make(map[string]*method, len(old)+1)
	for k, v := range old {
		methods[k] = v
	}
	methods[m.name] = m
	s.methods.Store(&methods)
}

// Serve serves what lis accepts until ctx ends, or lis does. It closes lis and
// every connection, and returns when all handlers have.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { lis.Close() })
	var wg sync.WaitGroup
	defer wg.Wait()
	defer lis.Close()
	defer stop()
	defer cancel()
	places := make(chan struct{}, s.opt.MaxConns)
	for failed := 0; ; {
		conn, err := lis.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return api.E(api.Unavailable, "serve", lis.Addr().String(), "the listener was closed")
		case err != nil: // out of descriptors, or the like: it passes
			failed = min(failed+1, 8)
			if !sleep(ctx, time.Millisecond<<failed) {
				return nil
			}
			continue
		}
		failed = 0
		select {
		case places <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-places }()
			s.accepted(ctx, conn)
		}()
	}
}

// accepted serves conn and tells how it ended.
func (s *Server) accepted(ctx context.Context, conn net.Conn) {
	peer, err := s.identify(ctx, conn)
	if err == nil {
		err = s.ServeConn(ctx, conn, peer)
	}
	if err != nil && s.opt.Ended != nil {
		s.opt.Ended(peer, err)
	}
}

// identify asks the transport who conn is; on an error it has closed it.
func (s *Server) identify(ctx context.Context, conn net.Conn) (any, error) {
	if s.opt.Peer == nil {
		return conn, nil
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(s.opt.Handshake))
	peer, err := s.opt.Peer(conn)
	if !stop() && err == nil {
		err = ended(ctx, "serve", "")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return peer, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ServeConn serves one connection until it or ctx ends, closes it, and returns
// when all its handlers have. peer is for the handlers. A clean end is nil.
func (s *Server) ServeConn(ctx context.Context, conn io.ReadWriteCloser, peer any) error {
	ses := &session{methods: &s.methods, peer: peer}
	ses.init(conn, s.opt, roleServer)
	return ses.serve(ctx)
}
