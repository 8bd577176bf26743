// Package control is the serving side of the control channel: it reads frames
// from one connection, calls a [Handler] as the caller that the transport
// knows, and writes the answers.
//
// The connection is the caller's identity. A bad frame costs its sender the
// connection and nobody else anything; a caller that does not read its answers
// is cut off after a bound; requests under way are bounded per connection.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
)

const (
	maxPending   = 1 << 14          // requests that wait, per connection
	maxAhead     = 256              // requests taken whose goroutines have not run yet
	writeTimeout = 10 * time.Second // for a peer that does not read
)

// Handler does what callers ask. Every method may be called concurrently; ctx
// ends when the request is cancelled or the connection is gone.
type Handler interface {
	Started(c api.Caller)
	Exited(c api.Caller, e wire.Exit) error
	// WaitKill returns when the calling proc is asked to end.
	WaitKill(ctx context.Context, c api.Caller) (wire.Target, error)
	Spawn(c api.Caller, d *api.ProcDesc) (api.ProcID, error)
	// WaitStart returns nil once the proc said Started, its status if it ended
	// before that.
	WaitStart(ctx context.Context, c api.Caller, id string) (*api.Status, error)
	WaitExit(ctx context.Context, c api.Caller, id string) (api.Status, error)
	Kill(c api.Caller, t wire.Target) error
	// EnterRealm returns the caller as one that acts in the named realm.
	EnterRealm(c api.Caller, realm string) (api.Caller, error)
	// Call serves the methods of api/admin.go; send streams partial answers.
	Call(ctx context.Context, c api.Caller, call wire.Call, send func(body any, data []byte) error) (any, error)
}

// Endpoints connects procs with each other and with the world outside.
type Endpoints interface {
	NewEndpoint(c api.Caller) (api.Endpoint, error)
	// Accept waits for the next connection to one of the caller's endpoints.
	Accept(ctx context.Context, c api.Caller, ep api.Endpoint) (Passed, error)
	Dial(ctx context.Context, c api.Caller, t api.Target) (Passed, error)
	CloseEndpoint(c api.Caller, ep api.Endpoint) error
}

// Passed is a connection on its way to a caller: a non-blocking descriptor and
// who is at its other end. Whoever holds a Passed closes FD or passes it on.
type Passed struct {
	FD   int
	Peer api.Peer
}

// fdWriter is a connection that can hand over descriptors.
type fdWriter interface {
	WriteFD(p []byte, fd int) (int, error)
}

// Conn is a connection with deadlines on writes.
type Conn interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

type server struct {
	conn   Conn
	h      Handler
	eps    Endpoints
	ctx    context.Context
	caller api.Caller

	timed bool // conn wants a deadline for each write

	wmu  sync.Mutex
	wbuf []byte

	mu      sync.Mutex
	pending map[uint32]context.CancelFunc
	ahead   chan struct{} // holds one for each request that was taken and does not run yet
	wg      sync.WaitGroup
}

// Serve reads requests until the connection ends or ctx does, closes it, and
// returns when every request has been answered or dropped. A clean end of the
// peer is nil. Where eps is nil there are no endpoints.
func Serve(ctx context.Context, conn Conn, caller api.Caller, h Handler, eps Endpoints) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	s := &server{conn: conn, h: h, eps: eps, ctx: ctx, caller: caller}
	if b, ok := conn.(interface{ BoundWrites(time.Duration) }); ok {
		b.BoundWrites(writeTimeout)
	} else {
		s.timed = true
	}
	err := s.loop()
	stop()
	cancel()
	conn.Close()
	s.wg.Wait()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (s *server) loop() error {
	r := wire.NewReader(s.conn)
	for {
		f, err := r.Read()
		if err != nil {
			return err
		}
		if f.Flags != 0 {
			return fmt.Errorf("control: a request with flags %#x", f.Flags)
		}
		s.pace()
		if err := s.dispatch(f); err != nil {
			return err
		}
	}
}

// pace takes no request while an answer cannot be written: what a peer that
// does not read can make us keep stays small.
func (s *server) pace() {
	s.wmu.Lock()
	defer s.wmu.Unlock()
}

// dispatch serves one frame; an error ends the connection.
func (s *server) dispatch(f wire.Frame) error {
	switch f.Type {
	case wire.TStarted:
		s.h.Started(s.caller)
		return s.reply(f, nil, nil)
	case wire.TExited:
		e, err := wire.DecodeExit(f.Payload)
		if err != nil {
			return s.reply(f, nil, malformed("exited", err))
		}
		err = s.h.Exited(s.caller, e)
		return s.reply(f, nil, err)
	case wire.TSpawn:
		d, err := wire.DecodeDesc(f.Payload)
		if err != nil {
			return s.reply(f, nil, malformed("spawn", err))
		}
		id, err := s.h.Spawn(s.caller, d)
		return s.reply(f, wire.Target{ID: string(id)}.Encode(), err)
	case wire.TKill:
		t, err := wire.DecodeTarget(f.Payload)
		if err != nil {
			return s.reply(f, nil, malformed("kill", err))
		}
		return s.reply(f, nil, s.h.Kill(s.caller, t))
	case wire.TRealm:
		t, err := wire.DecodeTarget(f.Payload)
		if err != nil {
			return s.reply(f, nil, malformed("realm", err))
		}
		c, err := s.h.EnterRealm(s.caller, t.ID)
		if err == nil {
			s.caller = c
		}
		return s.reply(f, nil, err)
	case wire.TCancel:
		return s.cancel(f)
	case wire.TWaitStart, wire.TWaitExit, wire.TWaitKill:
		t, err := wire.DecodeTarget(f.Payload)
		if err != nil {
			return s.reply(f, nil, malformed("wait", err))
		}
		return s.wait(f, t)
	case wire.TNewEndpoint, wire.TCloseEndpoint, wire.TAccept, wire.TDial:
		return s.endpoint(f)
	case wire.TCall:
		c, err := wire.DecodeCall(f.Payload)
		if err != nil {
			return s.reply(f, nil, malformed("call", err))
		}
		return s.call(f, c)
	}
	return s.reply(f, nil, api.E(api.Unsupported, "request", fmt.Sprint(f.Type), "this sigmad does not know the type"))
}

// malformed is the answer to a payload that does not decode.
func malformed(op string, err error) error {
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	return api.E(api.Invalid, op, "", "%v", err)
}

// background runs fn as the pending request f, unless there are too many.
func (s *server) background(f wire.Frame, fn func(ctx context.Context, f wire.Frame)) error {
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	if s.pending == nil {
		s.pending = make(map[uint32]context.CancelFunc)
		s.ahead = make(chan struct{}, maxAhead)
	}
	_, twice := s.pending[f.ID]
	if len(s.pending) >= maxPending || twice {
		s.mu.Unlock()
		cancel()
		if twice {
			return s.reply(f, nil, api.E(api.Invalid, "request", fmt.Sprint(f.ID), "the request id is in use"))
		}
		return s.reply(f, nil, api.E(api.Busy, "request", "", "%d requests wait on this connection already", maxPending))
	}
	s.pending[f.ID] = cancel
	s.mu.Unlock()
	f.Payload = nil // belongs to the reader
	s.wg.Add(1)
	// Taking requests is so much quicker than the start of their goroutines that
	// pace would see no answer that waits until thousands of them do.
	s.ahead <- struct{}{}
	go func() {
		<-s.ahead
		defer s.wg.Done()
		defer func() {
			s.mu.Lock()
			delete(s.pending, f.ID)
			s.mu.Unlock()
			cancel()
		}()
		fn(ctx, f)
	}()
	return nil
}

func (s *server) cancel(f wire.Frame) error {
	return wire.Each(f.Payload, func(tag uint8, v []byte) error {
		if tag != 1 {
			return nil
		}
		id, err := wire.Int(v)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if cancel := s.pending[uint32(id)]; cancel != nil {
			cancel()
		}
		return nil
	})
}

func (s *server) wait(f wire.Frame, t wire.Target) error {
	caller := s.caller
	return s.background(f, func(ctx context.Context, f wire.Frame) {
		switch f.Type {
		case wire.TWaitStart:
			st, err := s.h.WaitStart(ctx, caller, t.ID)
			var p []byte
			if st != nil {
				p = wire.EncodeStatus(*st)
			}
			s.reply(f, p, err)
		case wire.TWaitExit:
			st, err := s.h.WaitExit(ctx, caller, t.ID)
			s.reply(f, wire.EncodeStatus(st), err)
		case wire.TWaitKill:
			t, err := s.h.WaitKill(ctx, caller)
			s.reply(f, t.Encode(), err)
		}
	})
}

func (s *server) call(f wire.Frame, c wire.Call) error {
	caller := s.caller
	return s.background(f, func(ctx context.Context, f wire.Frame) {
		more := f
		send := func(body any, data []byte) error {
			p, err := payload(body, data)
			if err != nil {
				return err
			}
			return s.write(more, wire.FlagReply|wire.FlagMore, p)
		}
		body, err := s.h.Call(ctx, caller, c, send)
		p, perr := payload(body, nil)
		s.reply(f, p, errors.Join(err, perr))
	})
}

func payload(body any, data []byte) ([]byte, error) {
	c := wire.Call{Data: data}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		c.Body = b
	}
	p := c.Encode()
	if len(p) > wire.MaxAnswer {
		return nil, api.E(api.TooLarge, "answer", "", "%d bytes; ask for less at a time", len(p))
	}
	return p, nil
}

// reply answers f; a request with id 0 wants no answer.
func (s *server) reply(f wire.Frame, p []byte, err error) error {
	if f.ID == 0 {
		return nil
	}
	flags := wire.FlagReply
	if err != nil {
		flags |= wire.FlagError
		p = wire.EncodeError(api.AsError("request", err))
	}
	return s.write(f, flags, p)
}

func (s *server) write(f wire.Frame, flags uint16, p []byte) error {
	return s.writeFD(f, flags, p, -1)
}

// writeFD writes a frame and, with its first byte, fd where that is not -1. fd
// stays the caller's.
func (s *server) writeFD(f wire.Frame, flags uint16, p []byte, fd int) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.wbuf = wire.Append(s.wbuf[:0], wire.Frame{Type: f.Type, Flags: flags, ID: f.ID, Payload: p})
	if s.timed {
		s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	var err error
	if fd >= 0 {
		_, err = s.conn.(fdWriter).WriteFD(s.wbuf, fd)
	} else {
		_, err = s.conn.Write(s.wbuf)
	}
	if cap(s.wbuf) > 16<<10 {
		s.wbuf = nil
	}
	if err != nil {
		s.conn.Close()
	}
	return err
}
