package ninep

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// server is one connection.
type server struct {
	opts   Options
	caller api.Caller
	fs     tree.FS
	ctx    context.Context // ends with the connection
	pool   pool
	in     *frames
	out    *sender
	slots  chan struct{} // requests that run

	// Set by Tversion, when nothing else is under way.
	sigma bool
	msize int

	mu      sync.Mutex
	changed *sync.Cond // a request ended
	reqs    map[uint16]*request
	fids    map[uint32]*fid
	waiting int // requests but watches
	bytes   int // of them and their answers
	handles int // open files and directories
	listed  int // names that open directories remember
	watches int
	ending  int             // watches whose answer is being sent
	opens   map[uint64]*fid // by qid path: open files that tell attributes
	wg      sync.WaitGroup  // one for each request
}

// Serve answers the requests of one peer, which is c, until the connection or the
// owner's context ends. It closes the connection and everything that the peer had
// open, and returns when no request runs any more. A clean end by the peer is nil.
func Serve(owner context.Context, conn Conn, c api.Caller, fs tree.FS, opts Options) error {
	ctx, cancel := context.WithCancel(owner)
	defer cancel()
	s := &server{
		opts: opts.withDefaults(), caller: c, fs: fs, ctx: ctx,
		reqs: make(map[uint16]*request), fids: make(map[uint32]*fid), opens: make(map[uint64]*fid),
	}
	s.changed = sync.NewCond(&s.mu)
	s.in, s.out = newFrames(conn, &s.pool, s.opts.Read), newSender(conn, s.opts.Write)
	s.slots = make(chan struct{}, s.opts.Requests)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := s.read()
	cancel()
	stop()
	conn.Close()
	s.wg.Wait()
	s.dropFids()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case owner.Err() != nil:
		return owner.Err()
	}
	return err
}

// read takes requests in until the stream ends.
func (s *server) read() error {
	for {
		b, err := s.in.next()
		if err != nil {
			return err
		}
		if err := s.take(b); err != nil {
			return err
		}
	}
}

// take begins one request; an error ends the connection.
func (s *server) take(b *buffer) error {
	typ, tag := frameType(b.b), frameTag(b.b)
	switch {
	case typ == tVersion:
		return s.version(b)
	case s.msize == 0:
		return s.refuse(b, bad("request", "the first message must be Tversion"))
	case typ == tFlush:
		return s.flush(b)
	}
	m := newAsked(typ)
	if m == nil || typ >= firstSigma && !s.sigma {
		return s.refuse(b, api.E(api.Unsupported, "request", "", "messages of type %d are not known here", typ))
	}
	if tag == noTag {
		return s.refuse(b, bad("request", "it needs a tag"))
	}
	if err := decode(b.b[headerSize:], m); err != nil {
		return s.refuse(b, err)
	}
	r := &request{s: s, tag: tag, typ: typ, m: m, frame: b}
	r.ctx, r.cancel = context.WithCancel(s.ctx)
	if err := s.admit(r); err != nil {
		r.cancel()
		return s.refuse(b, err)
	}
	go r.serve()
	return nil
}

// refuse answers a request that never began.
func (s *server) refuse(b *buffer, err error) error {
	tag := frameTag(b.b)
	s.pool.put(b)
	return s.tell(tag, err)
}

// tell answers with an error.
func (s *server) tell(tag uint16, err error) error {
	typ, m := answer(err, s.sigma)
	return s.send(tag, typ, m, nil)
}

func (s *server) send(tag uint16, typ uint8, m message, file *os.File) error {
	b := s.pool.get(smallBuffer)
	defer s.pool.put(b)
	b.b = appendFrame(b.b[:0], typ, tag, m)
	if s.msize > 0 && len(b.b) > s.msize {
		typ, m = answer(api.E(api.TooLarge, "answer", "", "it has %d bytes; messages have at most %d here", len(b.b), s.msize), s.sigma)
		b.b, file = appendFrame(b.b[:0], typ, tag, m), nil
	}
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.sendLocked(b.b, file)
}

// admit waits for room, then puts r among the requests and in the queues of its
// fids.
func (s *server) admit(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		old := s.reqs[r.tag]
		switch {
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case old != nil && !old.answering:
			return bad("request", "tag %d is in use", r.tag)
		case old == nil && s.roomLocked(r):
			return s.beginLocked(r)
		}
		s.changed.Wait()
	}
}

func (s *server) roomLocked(r *request) bool {
	if r.watch() { // too many are refused, unless some are about to end
		return s.watches < s.opts.Watches || s.ending == 0
	}
	r.cost = len(r.frame.b)
	if m, ok := r.m.(interface{ answerSize() int }); ok {
		r.cost += min(m.answerSize(), s.msize)
	}
	return s.waiting == 0 || s.waiting < s.opts.Requests+s.opts.Waiting && s.bytes+r.cost <= s.opts.Bytes
}

func (s *server) beginLocked(r *request) error {
	if r.watch() {
		if s.watches >= s.opts.Watches {
			return api.E(api.Busy, "watch", "", "this connection has %d watches already", s.watches)
		}
		s.watches++
	} else {
		s.waiting++
		s.bytes += r.cost
	}
	if err := r.joinLocked(); err != nil {
		s.endLocked(r)
		return err
	}
	s.reqs[r.tag] = r
	s.wg.Add(1)
	return nil
}

// endLocked undoes the counting of beginLocked.
func (s *server) endLocked(r *request) {
	if r.watch() {
		s.watches--
		if r.answering {
			s.ending--
		}
	} else {
		s.waiting--
		s.bytes -= r.cost
	}
	s.changed.Broadcast()
}
