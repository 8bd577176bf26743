package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
	"time"

	"github.com/dustin/go-humanize"
)

// Options choose what Read gives.
type Options struct {
	Follow    bool // wait for more until the log is closed
	TailLines int  // begin with the last so many lines; 0 is all
	Stream    int  // 1 or 2; 0 is both, in the order in which they were read from the pipes
}

// Record is a piece of output, or a marker where output is missing.
type Record struct {
	Time   time.Time // when it was read from the pipe; zero for a marker
	Stream int       // 1 or 2; 0 for a marker
	Data   []byte    // as written; may begin and end within a line. Valid during the call only.

	// Set in a marker, whose Data is a line that says the same.
	DroppedLines, DroppedBytes int64
}

// Read gives fn the records of a proc's log in order, and returns fn's error if
// it has one. Without Follow it ends with what was written when it was called.
// A log that is not known has no records, and neither has one that was closed
// empty. A follower that is slower than the limits allow gets markers.
func (s *Store) Read(ctx context.Context, realmID, proc string, o Options, fn func(Record) error) error {
	l := s.find(realmID, proc)
	if l == nil {
		return nil
	}
	rd := newReader(l, o.Stream, fn)
	defer rd.close()
	rd.until = -1
	if !o.Follow {
		rd.until = l.end().total()
	}
	if o.TailLines > 0 {
		rd.skipToLastLines(int64(o.TailLines))
	}
	if err := rd.run(ctx); err != nil {
		return fmt.Errorf("read log of %s: %w", proc, err)
	}
	return nil
}

// Tail gives the last bytes of both streams, at most n, from the beginning of a
// line if there is one.
func (s *Store) Tail(realmID, proc string, n int) ([]byte, error) {
	l := s.find(realmID, proc)
	if l == nil || n <= 0 {
		return nil, nil
	}
	var out []byte
	rd := newReader(l, 0, func(r Record) error {
		out = append(out, r.Data...)
		return nil
	})
	defer rd.close()
	rd.until = l.end().total()
	rd.skipBytes = max(0, rd.until-int64(n)-1) // one more shows whether a line begins there
	rd.startAt(func(end pos) bool { return end.total() > rd.skipBytes })
	if err := rd.run(context.Background()); err != nil {
		return nil, fmt.Errorf("read log of %s: %w", proc, err)
	}
	if len(out) > n {
		cut := len(out) - n
		if i := bytes.IndexByte(out[cut-1:], '\n'); i >= 0 && cut+i < len(out) {
			cut += i
		}
		out = out[cut:]
	}
	return out, nil
}

func (l *Log) end() pos {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.written
}

// reader walks the spans of one log.
type reader struct {
	l      *Log
	stream int
	fn     func(Record) error
	until  int64 // bytes after which to stop; -1 follows
	at     pos   // all before has been given, skipped or reported missing

	skipLines, skipBytes int64 // of the stream(s) chosen: not given

	midline bool // the last byte given is no newline
	buf     []byte

	// The segment in which at is and where; nil if that has to be found.
	seg *segment
	off int64
	f   *os.File // seg's file, while it is open
}

func newReader(l *Log, stream int, fn func(Record) error) *reader {
	return &reader{l: l, stream: stream, fn: fn}
}

func (rd *reader) close() {
	if rd.f != nil {
		rd.f.Close()
		rd.f = nil
	}
}

// skipToLastLines sets the reader to the last n lines; a line without an end
// counts.
func (rd *reader) skipToLastLines(n int64) {
	rd.l.r.mu.Lock()
	_, lines := rd.l.written.of(rd.stream)
	if rd.l.midline[rd.stream] {
		lines++
	}
	rd.l.r.mu.Unlock()
	rd.skipLines = max(0, lines-n)
	rd.startAt(func(end pos) bool {
		_, have := end.of(rd.stream)
		return have >= rd.skipLines
	})
}

// startAt begins with the first span whose end is wanted; wanted is monotonic.
func (rd *reader) startAt(wanted func(end pos) bool) {
	rd.l.sync()
	rd.l.r.mu.Lock()
	defer rd.l.r.mu.Unlock()
	spans := rd.l.spans
	rd.at = rd.l.startLocked(sort.Search(len(spans), func(i int) bool { return wanted(spans[i].end) }))
}

// sync has everything written up to now indexed.
func (l *Log) sync() {
	l.r.mu.Lock()
	ln, pending := l.r.shared, l.pending
	if l.lane != nil {
		ln = l.lane
	}
	l.r.mu.Unlock()
	if pending > 0 {
		l.r.flush(ln)
	}
}

func (rd *reader) run(ctx context.Context) error {
	for rd.until < 0 || rd.at.total() < rd.until {
		if err := ctx.Err(); err != nil {
			return err
		}
		rd.l.sync()
		sp, start, wait, found := rd.next()
		switch {
		case found && sp.seg == nil:
			if err := rd.missing(sp.end); err != nil {
				return err
			}
		case found:
			err := rd.span(ctx, sp, start)
			if errors.Is(err, fs.ErrNotExist) {
				rd.l.lose(sp.seg)
				continue
			}
			if err != nil {
				return err
			}
		case wait == nil:
			return nil
		default:
			rd.close() // a sleeping follower pins no removed file
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-wait:
			}
		}
	}
	return nil
}

// next finds the span that continues at rd.at. If there is none yet, wait is
// what to wait for; nil says there will be none.
func (rd *reader) next() (sp span, start pos, wait <-chan struct{}, found bool) {
	l := rd.l
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	at := rd.at.total()
	i := sort.Search(len(l.spans), func(i int) bool { return l.spans[i].end.total() > at })
	if i < len(l.spans) {
		return l.spans[i], l.startLocked(i), nil, true
	}
	if l.closed && l.pending == 0 {
		return span{}, pos{}, nil, false
	}
	if l.more == nil {
		l.more = make(chan struct{})
	}
	wait = l.more
	if l.pending > 0 { // written since sync: no need to wait
		ready := make(chan struct{})
		close(ready)
		wait = ready
	}
	return span{}, pos{}, wait, false
}

// missing reports that what is between rd.at and end is gone.
func (rd *reader) missing(end pos) error {
	n, lines := end.minus(rd.at).of(rd.stream)
	rd.at, rd.seg = end, nil
	if n == 0 {
		return nil // it was the other stream's
	}
	text := marker(lines, n)
	if rd.midline {
		text = "\n" + text
	}
	rd.midline = false
	return rd.fn(Record{Data: []byte(text), DroppedLines: lines, DroppedBytes: n})
}

func marker(lines, n int64) string {
	unit := "lines"
	if lines == 1 {
		unit = "line"
	}
	return fmt.Sprintf("… %s %s (%s) dropped here\n", humanize.Comma(lines), unit, humanize.Bytes(uint64(n)))
}

// span gives what sp holds from rd.at on; start is where sp begins. It is
// fs.ErrNotExist if the file has gone.
func (rd *reader) span(ctx context.Context, sp span, start pos) error {
	if rd.seg == sp.seg && rd.off >= sp.first {
		start = rd.at
	} else {
		rd.close()
		rd.seg, rd.off = sp.seg, sp.first
	}
	if rd.f == nil {
		f, err := os.Open(sp.seg.path)
		if err != nil {
			return err
		}
		rd.f = f
	}
	in := bufio.NewReaderSize(io.NewSectionReader(rd.f, rd.off, sp.last-rd.off), int(min(sp.last-rd.off, maxRecord)))
	for rd.off < sp.last {
		h, err := readHeader(in)
		if err != nil {
			return fmt.Errorf("%s at %d: %w", rd.seg.path, rd.off, err)
		}
		rd.off += headerSize + int64(h.size)
		if h.key != rd.l.key || start.total() < rd.at.total() {
			if _, err := in.Discard(h.size); err != nil {
				return fmt.Errorf("%s at %d: %w", rd.seg.path, rd.off, err)
			}
			if h.key == rd.l.key {
				// Given earlier; its lines do not matter as at has them.
				start.bytes[h.stream-1] += int64(h.size)
			}
			continue
		}
		rd.buf = append(rd.buf[:0], make([]byte, h.size)...)
		if _, err := io.ReadFull(in, rd.buf); err != nil {
			return fmt.Errorf("%s at %d: %w", rd.seg.path, rd.off, err)
		}
		if err := rd.give(h); err != nil {
			return err
		}
		start = rd.at
		if rd.until >= 0 && rd.at.total() >= rd.until {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// give passes the record in rd.buf on, without what is to be skipped.
func (rd *reader) give(h header) error {
	data := rd.buf
	haveBytes, haveLines := rd.at.of(rd.stream)
	rd.at.add(h.stream, int64(len(data)), int64(bytes.Count(data, []byte{'\n'})))
	if rd.stream != 0 && rd.stream != h.stream {
		return nil
	}
	if over := haveBytes + int64(len(data)) - rd.skipBytes; over < int64(len(data)) {
		data = data[len(data)-int(max(0, over)):]
	}
	for ; haveLines < rd.skipLines && len(data) > 0; haveLines++ {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return nil
		}
		data = data[i+1:]
	}
	if len(data) == 0 {
		return nil
	}
	rd.midline = data[len(data)-1] != '\n'
	return rd.fn(Record{Time: time.Unix(0, h.nanos), Stream: h.stream, Data: data})
}
