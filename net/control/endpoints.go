package control

import (
	"context"
	"syscall"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// dialsNow is an Endpoints that connects at once where nothing has to be waited
// for, which saves a goroutine on the way. ok is false when Dial is to be asked.
type dialsNow interface {
	DialNow(c api.Caller, t api.Target) (p Passed, ok bool)
}

// endpoint serves the frames about endpoints; those that wait do so in the
// background.
func (s *server) endpoint(f wire.Frame) error {
	if s.eps == nil {
		return s.reply(f, nil, api.E(api.Unsupported, "endpoint", "", "there are no endpoints on this connection"))
	}
	switch f.Type {
	case wire.TNewEndpoint:
		ep, err := s.eps.NewEndpoint(s.caller)
		return s.reply(f, wire.EncodeEndpoint(ep), err)
	case wire.TDial:
		t, err := wire.DecodeDial(f.Payload)
		if err != nil {
			return s.reply(f, nil, api.E(api.Invalid, "dial", "", "%v", err))
		}
		if q, ok := s.eps.(dialsNow); ok && s.canPass(f) {
			if p, ok := q.DialNow(s.caller, t); ok {
				return s.hand(f, p)
			}
		}
		return s.pass(f, func(ctx context.Context, c api.Caller) (Passed, error) { return s.eps.Dial(ctx, c, t) })
	}
	ep, err := wire.DecodeEndpoint(f.Payload)
	if err != nil {
		return s.reply(f, nil, api.E(api.Invalid, "endpoint", "", "%v", err))
	}
	if f.Type == wire.TCloseEndpoint {
		return s.reply(f, nil, s.eps.CloseEndpoint(s.caller, ep))
	}
	return s.pass(f, func(ctx context.Context, c api.Caller) (Passed, error) { return s.eps.Accept(ctx, c, ep) })
}

// canPass reports whether f can be answered with a descriptor.
func (s *server) canPass(f wire.Frame) bool {
	_, ok := s.conn.(fdWriter)
	return ok && f.ID != 0
}

// pass answers f with a descriptor that get may have to wait for.
func (s *server) pass(f wire.Frame, get func(context.Context, api.Caller) (Passed, error)) error {
	if !s.canPass(f) {
		return s.reply(f, nil, api.E(api.Unsupported, "endpoint", "", "this connection cannot carry a descriptor"))
	}
	caller := s.caller
	return s.background(f, func(ctx context.Context, f wire.Frame) {
		p, err := get(ctx, caller)
		if err != nil {
			s.reply(f, nil, err)
			return
		}
		s.hand(f, p)
	})
}

// hand answers f with a descriptor, which is closed here once it is under way.
// That does not wait, and is done without telling the Go scheduler: the telling
// wakes a thread.
func (s *server) hand(f wire.Frame, p Passed) error {
	err := s.writeFD(f, wire.FlagReply|wire.FlagFD, wire.EncodePeer(p.Peer), p.FD)
	syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(p.FD), 0, 0)
	return err
}
