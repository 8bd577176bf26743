package rpc

import (
	"context"
	"runtime"

	"sigmaos/api"
)

// run is the goroutine of one call or stream.
func (s *session) run(j *job) {
	defer s.wg.Done()
	var body []byte
	err := error(api.E(api.Internal, "call", j.method.name, "the handler ended its goroutine"))
	defer func() { s.finish(j, body, err) }()
	if j.stream == nil {
		body, err = s.guard(j.method.call, j.ctx, &j.req)
		return
	}
	stop := context.AfterFunc(j.ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		j.stream.dropLocked(ended(j.ctx, "stream", j.method.name))
	})
	_, err = s.guard(func(ctx context.Context, _ *Request) ([]byte, error) {
		return nil, j.method.stream(ctx, j.stream)
	}, j.ctx, &j.req)
	stop()
}

// guard calls a handler; a panic becomes an error.
func (s *session) guard(fn func(context.Context, *Request) ([]byte, error), ctx context.Context, req *Request) (body []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			body, err = nil, s.panicked(req.Method, v)
		}
	}()
	return fn(ctx, req)
}

func (s *session) panicked(method string, v any) error {
	if s.opt.Panicked != nil {
		stack := make([]byte, 16<<10)
		s.opt.Panicked(method, v, stack[:runtime.Stack(stack, false)])
	}
	return api.E(api.Internal, "call", method, "the handler panicked; its process has the details")
}

// inline serves a call in the reading goroutine.
func (s *session) inline(m *method, f frame) {
	s.req = Request{Method: m.name, Body: f.body, Peer: s.peer}
	body, err := s.guard(m.inline, s.ctx, &s.req)
	s.mu.Lock()
	s.answerLocked(f.id, m, body, err)
	s.mu.Unlock()
}

// finish answers j and frees its number.
func (s *session) finish(j *job, body []byte, err error) {
	j.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.stream != nil {
		j.stream.dropLocked(api.E(api.Canceled, "stream", j.method.name, "the handler has returned"))
	}
	if s.late+len(body) > s.opt.MaxBytes {
		body, err = nil, api.E(api.Unavailable, "call", j.method.name, "%d bytes of answers wait for this caller; read them, or ask for less at a time", s.late)
	}
	s.late += len(body)
	for len(s.out) >= queueSize && s.err == nil { // it is being written: somebody made it that long
		s.awaitLocked(context.Background(), "", "")
	}
	s.late -= len(body)
	s.jobs[j.id] = nil
	s.held -= j.held
	s.answerLocked(j.id, j.method, body, err)
	s.wakeLocked()
}

// answerLocked queues the last frame of a call or stream; m is nil where the
// method is not known.
func (s *session) answerLocked(id uint32, m *method, body []byte, err error) {
	if s.err != nil {
		return
	}
	name := ""
	if m != nil {
		name = m.name
	}
	if most := s.other.maxFrame; err == nil && len(body) > most {
		err = api.E(api.TooLarge, "call", name, "an answer of %d bytes; the caller takes %d in one frame", len(body), most)
	}
	if err == nil {
		s.out = appendFrame(s.out, kAnswer, id, 0, "", body)
		return
	}
	s.out = appendFrame(s.out, kError, id, 0, "", appendError(nil, asError(name, err)))
}
