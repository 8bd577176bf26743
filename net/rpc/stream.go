package rpc

import (
	"context"
	"io"

	"sigmaos/api"
)

// least is what the shortest message counts: about what keeping one costs.
const least = 64

// Stream is a row of messages in each direction. One goroutine may Send while
// another one does Recv.
//
// A message is at most half of the receiver's Window, and Send waits while the
// receiver has that much unread: a slow reader holds up its own stream only.
type Stream struct {
	l      *link
	id     uint32
	method string
	peer   any
	cancel func(error) // at the caller: gives the stream up

	// Guarded by l.mu.
	queue   [][]byte // messages that have come and nobody has read
	head    int      // the first of them
	held    int      // what of the own window is used: in queue, or in owed
	owed    int      // what has been read and not been given back
	granted int64    // what the receiver gave back
	spent   int64    // what was sent
	eof     bool     // no more messages come
	closed  bool     // CloseSend was called
	end     error    // both directions are over; io.EOF is the good end

	readable, writable chan struct{} // hold one: look again
}

func newStream(l *link, id uint32, method string, peer any) *Stream {
	return &Stream{l: l, id: id, method: method, peer: peer, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

// Method is the name that the stream was opened with.
func (s *Stream) Method() string { return s.method }

// Peer is who is at the other end; nil at the caller's.
func (s *Stream) Peer() any { return s.peer }

// Recv returns the next message, which belongs to the caller. At the end it
// returns io.EOF when the other side is done, or the error that ended the stream.
func (s *Stream) Recv() ([]byte, error) {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case s.head < len(s.queue):
			return s.popLocked(), nil
		case s.end != nil:
			signal(s.readable) // for the next who asks
			return nil, s.end
		case s.eof:
			signal(s.readable)
			return nil, io.EOF
		}
		l.mu.Unlock()
		<-s.readable
		l.mu.Lock()
	}
}

// popLocked takes the first message, and gives back to the sender what has been
// read when it is worth a frame: half of the window, so that the longest message
// always fits in the other half.
func (s *Stream) popLocked() []byte {
	m := s.queue[s.head]
	s.queue[s.head] = nil
	if s.head++; s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	s.owed += cost(m)
	if s.owed >= s.l.opt.Window/2 && s.end == nil && !s.eof && s.l.err == nil {
		s.l.out = appendFrame(s.l.out, kCredit, s.id, uint32(s.owed), "", nil)
		s.held -= s.owed
		s.owed = 0
		s.l.wakeLocked()
	}
	return m
}

func cost(m []byte) int { return max(len(m), least) }

// Send queues a message and does not keep m. It waits while the receiver has a
// full window unread. When the stream is over, Send returns what ended it:
// io.EOF after a good end.
func (s *Stream) Send(m []byte) error { return s.SendContext(context.Background(), m) }

// SendContext is Send with an end to its waiting: with ctx, nothing was sent
// and the stream goes on. It is how a server gets rid of a reader that is too slow.
func (s *Stream) SendContext(ctx context.Context, m []byte) error {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		free := int64(l.other.window) + s.granted - s.spent
		switch {
		case s.end != nil:
			signal(s.writable)
			return s.end
		case l.err != nil:
			return lost("send", s.method, l.err)
		case s.closed:
			return api.E(api.Invalid, "send", s.method, "after CloseSend")
		case l.greeted && (cost(m) > l.other.window/2 || len(m) > l.other.maxFrame):
			return api.E(api.TooLarge, "send", s.method, "a message of %d bytes; the other side takes %d at a time", len(m), min(l.other.window/2, l.other.maxFrame))
		case !l.greeted || free < int64(cost(m)):
			l.mu.Unlock()
			select {
			case <-s.writable:
			case <-ctx.Done():
			}
			l.mu.Lock()
			if ctx.Err() != nil {
				return ended(ctx, "send", s.method)
			}
			continue
		case len(l.out) >= queueSize:
			if err := l.awaitLocked(ctx, "send", s.method); err != nil {
				return err
			}
			continue
		}
		s.spent += int64(cost(m))
		l.out = appendFrame(l.out, kData, s.id, 0, "", m)
		l.wakeLocked()
		if free > int64(cost(m)) {
			signal(s.writable) // should another one wait, against the rule
		}
		return nil
	}
}

// CloseSend tells the other side that no more messages come from this one.
func (s *Stream) CloseSend() error {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.closed && s.end == nil && l.err == nil {
		l.out = appendFrame(l.out, kEnd, s.id, 0, "", nil)
		l.wakeLocked()
	}
	s.closed = true
	return nil
}

// Close gives the stream up: the handler's ctx ends, and what has not been read
// is dropped. At the server it does nothing; there the handler's return is the
// end. A caller reads a Stream to its end, closes it, or ends its ctx.
func (s *Stream) Close() error {
	if s.cancel != nil {
		s.cancel(api.E(api.Canceled, "stream", s.method, "it was closed on this side"))
	}
	return nil
}

// takeLocked handles a frame of the stream: data, end or credit.
func (s *Stream) takeLocked(f frame) error {
	switch f.kind {
	case kData:
		if s.end != nil {
			return nil // given up here; the other side does not know yet
		}
		if s.held+cost(f.body) > s.l.opt.Window {
			return broken("more messages in stream %d than its window", s.id)
		}
		if s.eof {
			return broken("a message in stream %d after its end", s.id)
		}
		if !f.own {
			f.body = append(make([]byte, 0, len(f.body)), f.body...)
		}
		s.held += cost(f.body)
		if s.head > 64 && s.head > len(s.queue)/2 {
			s.queue, s.head = append(s.queue[:0], s.queue[s.head:]...), 0
		}
		s.queue = append(s.queue, f.body)
		signal(s.readable)
	case kEnd:
		s.eof = true
		signal(s.readable)
	case kCredit:
		s.granted += int64(f.arg)
		if s.granted > s.spent {
			return broken("more credit in stream %d than was used", s.id)
		}
		signal(s.writable)
	}
	return nil
}

// endLocked ends both directions; nil is the good end. What has come can still
// be read.
func (s *Stream) endLocked(err error) {
	if s.end != nil {
		return
	}
	if s.end = err; err == nil {
		s.end = io.EOF
	}
	s.signalLocked()
}

// dropLocked is endLocked for a stream whose messages nobody wants any more.
func (s *Stream) dropLocked(err error) {
	if s.end == nil {
		s.queue, s.head = nil, 0
	}
	s.endLocked(err)
}

func (s *Stream) signalLocked() {
	signal(s.readable)
	signal(s.writable)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
