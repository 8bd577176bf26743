package control

import (
	"context"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/api/wire"
)

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

// pass answers f with a descriptor, which is closed here once it is under way.
func (s *server) pass(f wire.Frame, get func(context.Context, api.Caller) (Passed, error)) error {
	if _, ok := s.conn.(fdWriter); !ok || f.ID == 0 {
		return s.reply(f, nil, api.E(api.Unsupported, "endpoint", "", "this connection cannot carry a descriptor"))
	}
	caller := s.caller
	return s.background(f, func(ctx context.Context, f wire.Frame) {
		p, err := get(ctx, caller)
		if err != nil {
			s.reply(f, nil, err)
			return
		}
		s.writeFD(f, wire.FlagReply|wire.FlagFD, wire.EncodePeer(p.Peer), p.FD)
		unix.Close(p.FD)
	})
}
