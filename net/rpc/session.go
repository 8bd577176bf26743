package rpc

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"sigmaos/api"
)

// session is one connection of a Server.
type session struct {
	link
	methods *atomic.Pointer[map[string]*method]
	peer    any
	ctx     context.Context
	cancel  context.CancelFunc
	base    context.Context // of jobs: ctx without its end, see end
	req     Request         // of inline handlers

	// Guarded by mu.
	jobs []*job // by number; nil where free
	held int    // bytes that count against MaxBytes
	late int    // bytes of answers that wait for room
}

// job is a call or stream under way.
type job struct {
	method *method
	id     uint32
	held   int
	req    Request
	stream *Stream
	ctx    context.Context
	cancel context.CancelFunc
}

func (s *session) serve(ctx context.Context) error {
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.base = context.WithoutCancel(ctx)
	stop := context.AfterFunc(ctx, func() {
		s.fail(api.E(api.Unavailable, "rpc", "", "this side is stopping"))
	})
	defer func() { // also when a handler has called runtime.Goexit
		stop()
		s.fail(api.E(api.Unavailable, "rpc", "", "its reader ended"))
		s.end()
		s.cancel()
		s.wg.Wait()
	}()
	err := s.loop()
	s.fail(ending(err))
	if err == io.EOF || ctx.Err() != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *session) loop() error {
	if err := s.greet(roleCaller); err != nil {
		return err
	}
	for {
		if !s.in.buffered() {
			s.flush()
		}
		f, err := s.in.next()
		if err != nil {
			return err
		}
		if err := s.dispatch(f); err != nil {
			return err
		}
	}
}

// flush writes what is queued, before the reading goroutine waits for more.
func (s *session) flush() {
	s.mu.Lock()
	if len(s.out) > 0 && !s.writing {
		s.paused.Store(true)
		s.flushLocked()
		s.paused.Store(false)
	}
	s.mu.Unlock()
}

// dispatch serves one frame; an error ends the connection.
func (s *session) dispatch(f frame) error {
	switch f.kind {
	case kCall, kOpen:
		return s.begin(f)
	case kCancel, kData, kEnd, kCredit:
		return s.pass(f)
	case kPing:
		s.mu.Lock()
		s.pong = true
		s.wakeLocked()
		s.mu.Unlock()
		return nil
	case kPong:
		return nil
	}
	return broken("a frame of type %d, which is for callers", f.kind)
}

// begin starts a call or stream, or refuses it.
func (s *session) begin(f frame) error {
	if f.header.name == 0 || f.kind == kOpen && len(f.body) > 0 {
		return broken("a call without a method's name, or a stream with a request")
	}
	m := (*s.methods.Load())[string(f.name)]
	s.mu.Lock()
	if err := s.acceptsLocked(f); err != nil {
		s.mu.Unlock()
		return err
	}
	refusal := s.refusalLocked(m, f)
	if refusal != nil {
		s.answerLocked(f.id, m, nil, refusal)
		s.mu.Unlock()
		return nil
	}
	if m.inline != nil {
		s.mu.Unlock()
		s.inline(m, f)
		return nil
	}
	defer s.mu.Unlock()
	s.startLocked(m, f)
	return nil
}

// acceptsLocked waits for room for an answer, so that who does not read answers
// cannot ask more, and checks the number.
func (s *session) acceptsLocked(f frame) error {
	if len(s.out) >= queueSize/2 {
		s.paused.Store(true)
		s.flushLocked()
		err := s.roomLocked(s.ctx, "", "", 0) // where somebody else was writing
		s.paused.Store(false)
		if err != nil {
			return err
		}
	}
	if int64(f.id) >= int64(s.opt.MaxCalls) {
		return broken("call number %d; the limit is %d", f.id, s.opt.MaxCalls)
	}
	if s.jobLocked(f.id) != nil {
		return broken("call number %d, which is in use", f.id)
	}
	return nil
}

func (s *session) jobLocked(id uint32) *job {
	if int64(id) < int64(len(s.jobs)) {
		return s.jobs[id]
	}
	return nil
}

func (s *session) refusalLocked(m *method, f frame) *api.Error {
	switch {
	case m == nil:
		return api.E(api.Unsupported, "call", string(f.name), "the other side has no such method")
	case (m.stream != nil) != (f.kind == kOpen):
		return api.E(api.Unsupported, "call", string(f.name), "streams are opened, other methods are called")
	case m.inline == nil && s.held+s.weight(f) > s.opt.MaxBytes:
		return api.E(api.Busy, "call", string(f.name), "%d bytes are under way on this connection; wait for some of it", s.held)
	}
	return nil
}

// weight is what f counts against MaxBytes.
func (s *session) weight(f frame) int {
	if f.kind == kOpen {
		return s.opt.Window
	}
	return f.size
}

func (s *session) startLocked(m *method, f frame) {
	j := &job{method: m, id: f.id, held: s.weight(f)}
	if f.arg > 0 {
		j.ctx, j.cancel = context.WithTimeout(s.base, time.Duration(f.arg)*time.Millisecond)
	} else {
		j.ctx, j.cancel = context.WithCancel(s.base)
	}
	if !f.own {
		f.body = append([]byte(nil), f.body...)
	}
	j.req = Request{Method: m.name, Body: f.body, Peer: s.peer}
	if m.stream != nil {
		j.stream = newStream(&s.link, f.id, m.name, s.peer)
	}
	for int(f.id) >= len(s.jobs) {
		s.jobs = append(s.jobs, nil)
	}
	s.jobs[f.id] = j
	s.held += j.held
	s.wg.Add(1)
	go s.run(j)
}

// pass gives a frame to the call or stream that it is for. One that has ended
// meanwhile is no fault of the caller.
func (s *session) pass(f frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobLocked(f.id)
	switch {
	case j == nil && int64(f.id) < int64(s.opt.MaxCalls):
		return nil
	case j == nil:
		return broken("call number %d; the limit is %d", f.id, s.opt.MaxCalls)
	case f.kind == kCancel:
		j.cancel()
		return nil
	case j.stream == nil:
		return broken("a frame of type %d for call %d, which is no stream", f.kind, f.id)
	}
	return j.stream.takeLocked(f)
}

// end ends all calls and streams. That they are not children of s.ctx, which
// would end them too, saves each of them a place in a map.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		if j == nil {
			continue
		}
		if j.stream != nil {
			j.stream.endLocked(lost("stream", j.method.name, s.err))
		}
		j.cancel()
	}
}
