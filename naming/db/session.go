package db

import (
	"context"
	"errors"
	"io"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// session is an open handle: a connection, a query that is being written, or one
// whose rows are being read.
type session struct {
	fs     *FS
	ctx    context.Context // of its queries; ends with the handle
	cancel context.CancelFunc

	turn chan struct{} // has room for one: who may touch the rest
	// Guarded by turn.
	conn   Conn // nil until the first query
	closed bool
	text   []byte
	at     int64 // the offset of the next byte, of the text or of the rows
	run    *run  // nil: a query is being written
	moved  chan struct{}
}

func (fs *FS) session(context.Context) (tree.Handle, error) {
	if n := fs.open.Add(1); n > int64(fs.l.Sessions) {
		fs.open.Add(-1)
		return nil, api.E(api.Busy, "open", SessionFile, "the realm has %d sessions open on this node; close some", fs.l.Sessions)
	}
	s := &session{fs: fs, turn: make(chan struct{}, 1), moved: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func (s *session) lock(ctx context.Context, op string) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ended(ctx, op)
	}
	if s.closed {
		s.unlock()
		return api.E(api.Invalid, op, SessionFile, "the session is closed")
	}
	return nil
}

func (s *session) unlock() { <-s.turn }

func ended(ctx context.Context, op string) error {
	if ctx.Err() == context.DeadlineExceeded {
		return api.E(api.Deadline, op, SessionFile, "%v", ctx.Err())
	}
	return api.E(api.Canceled, op, SessionFile, "%v", ctx.Err())
}

// gap is how long a piece waits for the one before it.
const gap = 5 * time.Second

// await returns with the turn when off is where the session stands: large reads
// and writes come in pieces, which may overtake each other.
func (s *session) await(ctx context.Context, op string, off int64) error {
	late := time.After(gap)
	for {
		if err := s.lock(ctx, op); err != nil {
			return err
		}
		if off == s.at || op == "write" && s.run != nil {
			return nil
		}
		at, moved := s.at, s.moved
		s.unlock()
		wrong := api.E(api.Invalid, op, SessionFile, "at offset %d, where %d comes next: queries and rows follow each other as in one stream", off, at)
		if off < at {
			return wrong
		}
		select {
		case <-moved:
		case <-late:
			return wrong
		case <-ctx.Done():
			return ended(ctx, op)
		}
	}
}

func (s *session) move(n int) {
	s.at += int64(n)
	close(s.moved)
	s.moved = make(chan struct{})
}

// WriteAt adds to the query; after rows were read it begins the next.
func (s *session) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, api.E(api.Invalid, "write", SessionFile, "an offset of %d", off)
	}
	if err := s.await(ctx, "write", off); err != nil {
		return 0, err
	}
	defer s.unlock()
	if s.run != nil {
		s.giveUp()
		s.at = off
	}
	if len(s.text)+len(p) > s.fs.l.Text {
		s.text = nil
		return 0, api.E(api.TooLarge, "write", SessionFile, "a query has at most %d bytes", s.fs.l.Text)
	}
	s.text = append(s.text, p...)
	s.move(len(p))
	return len(p), nil
}

// giveUp ends the query whose rows are being read.
func (s *session) giveUp() {
	if s.run != nil {
		s.run.end()
		s.run, s.text = nil, nil
	}
}

// ReadAt gives rows; the first one after a write runs the query.
func (s *session) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, api.E(api.Invalid, "read", SessionFile, "an offset of %d", off)
	}
	if err := s.await(ctx, "read", off); err != nil {
		return 0, err
	}
	defer s.unlock()
	if s.run == nil {
		if err := s.begin(ctx); err != nil {
			return 0, err
		}
	}
	n, err := s.run.read(ctx, p)
	s.move(n)
	return n, err
}

func (s *session) begin(ctx context.Context) error {
	text := s.text
	s.text = nil
	q, err := ParseQuery(text)
	if err != nil {
		return err
	}
	if s.conn == nil {
		cctx, cancel := context.WithTimeout(ctx, s.fs.l.Time)
		defer cancel()
		if s.conn, err = s.fs.b.Connect(cctx); err != nil {
			s.conn = nil
			return err
		}
	}
	s.run = start(s.ctx, s.conn, q, s.fs.l)
	return nil
}

func (s *session) Sync(context.Context) error { return nil }

func (s *session) Close() error {
	s.cancel()
	s.turn <- struct{}{}
	defer s.unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.giveUp()
	s.fs.open.Add(-1)
	if s.conn != nil {
		return s.conn.Close()
	}
	return nil
}

// run is a query that runs. Rows wait in a pipe of bounded size.
type run struct {
	cancel context.CancelFunc
	lines  chan []byte
	rest   []byte
	done   chan struct{}
	err    error // set before lines is closed
}

// pending is how many pieces of rows wait for their reader, and piece how large
// one is, a single row aside.
const (
	pending = 4
	piece   = 64 << 10
)

func start(ctx context.Context, c Conn, q Query, l Limits) *run {
	r := &run{lines: make(chan []byte, pending), done: make(chan struct{})}
	ctx, r.cancel = context.WithTimeout(ctx, l.Time)
	go func() {
		defer close(r.done)
		defer close(r.lines)
		r.err = r.rows(ctx, c, q, l)
	}()
	return r
}

func (r *run) rows(ctx context.Context, c Conn, q Query, l Limits) error {
	var rows, bytes int64
	var buf []byte
	send := func() error {
		if len(buf) == 0 {
			return nil
		}
		select {
		case r.lines <- buf:
			buf = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := c.Query(ctx, q, func(line []byte) error {
		rows, bytes = rows+1, bytes+int64(len(line))
		if rows > l.Rows || bytes > l.Bytes {
			return api.E(api.TooLarge, "query", "", "the result has more than %d rows or %d bytes; ask for a part of it with LIMIT and an order", l.Rows, l.Bytes)
		}
		buf = append(buf, line...)
		if len(buf) < piece {
			return nil
		}
		return send()
	})
	if err == nil || api.KindOf(err) == api.TooLarge {
		err = errors.Join(err, send())
	}
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return api.E(api.Deadline, "query", "", "it and the reading of its rows took longer than %v", l.Time)
	case err == nil:
		return io.EOF
	}
	return err
}

// read gives what there is, and waits only for the first byte.
func (r *run) read(ctx context.Context, p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.rest) == 0 {
			if n > 0 && len(r.lines) == 0 {
				select {
				case <-r.done:
				default:
					return n, nil
				}
			}
			select {
			case b, ok := <-r.lines:
				if !ok {
					if n > 0 && r.err != io.EOF {
						return n, nil // the next read meets it
					}
					return n, r.err
				}
				r.rest = b
			case <-ctx.Done():
				return n, ended(ctx, "read")
			}
		}
		k := copy(p[n:], r.rest)
		n, r.rest = n+k, r.rest[k:]
	}
	return n, nil
}

// end stops the query and waits until it has.
func (r *run) end() {
	r.cancel()
	<-r.done
}
