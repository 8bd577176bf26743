package logs

import (
	"bytes"
	"slices"
	"time"
)

// coalesce is how far apart two writes may be that become one record; it keeps
// procs that write byte by byte from being mostly headers.
const coalesce = time.Millisecond

// Log is the output of one proc.
type Log struct {
	to  func(stream int, p []byte) // of NewSink; nothing else is set then
	r   *realm
	id  string
	key uint64 // names the proc in records

	// Guarded by r.mu:

	spans   []span
	written pos           // all that was ever taken, buffered included
	stored  int64         // the same with headers
	midline [3]bool       // the last byte of both, of stream 1, of 2 is no newline
	pending int           // records in a buffer or on their way to a file
	lane    *lane         // its own; nil while it writes to the shared one
	closed  bool          // nothing more will come
	more    chan struct{} // closed when something happens; nil if nobody waits
}

// span is a stretch of a proc's output that is in one segment, or gone. It
// begins where the span before it ends.
type span struct {
	seg         *segment // nil if gone
	first, last int64    // where its records begin and end in seg, among others'
	end         pos
}

// NewSink is a Log that keeps nothing: to is given what is written, which it must not
// keep, and must not wait. It is for output whose log is elsewhere.
func NewSink(to func(stream int, p []byte)) *Log { return &Log{to: to} }

// Write takes bytes of one stream, 1 or 2; it keeps no reference to p. After
// Close it does nothing. It may write to a file where much is buffered.
func (l *Log) Write(stream int, p []byte) {
	if l.to != nil {
		l.to(stream, p)
		return
	}
	limit := l.r.s.limits.flushAt()
	for len(p) > 0 {
		n := min(len(p), limit)
		l.write(stream, p[:n], limit)
		p = p[n:]
	}
}

func (l *Log) write(stream int, p []byte, limit int) {
	r := l.r
	nanos := r.s.clock.Now().UnixNano()
	r.mu.Lock()
	ln := l.laneLocked()
	if ln == nil {
		r.mu.Unlock()
		return
	}
	lines := bytes.Count(p, []byte{'\n'})
	ln.append(l, stream, p, lines, nanos, limit)
	l.written.add(stream, int64(len(p)), int64(lines))
	l.midline[stream] = p[len(p)-1] != '\n'
	l.midline[0] = l.midline[stream]
	l.wakeLocked()
	r.markDirtyLocked(ln)
	buffered := len(ln.buf)
	r.mu.Unlock()

	switch {
	case buffered >= 4*limit:
		r.flush(ln) // the disk is behind: who writes this much waits for it
	case buffered >= limit && r.io.TryLock():
		r.flushHoldingIO(ln)
		r.io.Unlock()
	}
}

// laneLocked is where the next record goes; nil if nowhere. It lets go of the
// lock where the proc moves to a lane of its own, as what it wrote to the shared
// one has to be indexed first.
func (l *Log) laneLocked() *lane {
	r := l.r
	for !l.closed && !r.dead {
		if l.lane != nil {
			return l.lane
		}
		if l.stored < r.s.limits.head() {
			return r.shared
		}
		if l.pending == 0 {
			l.lane = &lane{owner: l}
			return l.lane
		}
		r.mu.Unlock()
		r.flush(r.shared)
		r.mu.Lock()
	}
	return nil
}

func (ln *lane) append(l *Log, stream int, p []byte, lines int, nanos int64, limit int) {
	if n := len(ln.pend); n > 0 {
		last := &ln.pend[n-1]
		if last.log == l && last.stream == stream && last.size+len(p) <= limit && nanos-last.nanos < int64(coalesce) {
			ln.buf = append(ln.buf, p...)
			last.size += len(p)
			last.lines += lines
			setSize(ln.buf[last.off:], last.size)
			l.stored += int64(len(p))
			return
		}
	}
	off := len(ln.buf)
	ln.buf = header{stream: stream, size: len(p), key: l.key, nanos: nanos}.append(ln.buf)
	ln.buf = append(ln.buf, p...)
	ln.pend = append(ln.pend, pending{log: l, off: off, size: len(p), lines: lines, stream: stream, nanos: nanos})
	l.pending++
	l.stored += headerSize + int64(len(p))
}

// Close says that the log is complete; followers end when they have read it.
// A log that nobody wrote to is forgotten.
func (l *Log) Close() {
	if l.to != nil {
		return
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.endLocked()
	if l.written.total() == 0 && l.r.procs[l.id] == l {
		delete(l.r.procs, l.id)
	}
}

func (l *Log) endLocked() {
	l.closed = true
	l.wakeLocked()
}

func (l *Log) wakeLocked() {
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

// indexLocked enters a record that is at off in seg, or was lost if seg is nil.
func (l *Log) indexLocked(p pending, seg *segment, off int64) {
	n := len(l.spans)
	if n == 0 || l.spans[n-1].seg != seg {
		l.spans = append(l.spans, span{seg: seg, first: off, end: l.startLocked(n)})
		n++
	}
	sp := &l.spans[n-1]
	sp.last = off + headerSize + int64(p.size)
	sp.end.add(p.stream, int64(p.size), int64(p.lines))
}

// startLocked is where span i begins.
func (l *Log) startLocked(i int) pos {
	if i == 0 {
		return pos{}
	}
	return l.spans[i-1].end
}

// loseLocked marks what was in seg as gone.
func (l *Log) loseLocked(seg *segment) {
	var start pos
	for i := range l.spans {
		if sp := &l.spans[i]; sp.seg == seg {
			sp.seg = nil
			l.r.dropped = l.r.dropped.plus(sp.end.minus(start))
		}
		start = l.spans[i].end
	}
	for i := len(l.spans) - 1; i > 0; i-- {
		if l.spans[i].seg == nil && l.spans[i-1].seg == nil {
			l.spans = slices.Delete(l.spans, i-1, i)
		}
	}
}

// lose is for a reader that found seg's file gone. Usually the index says so
// already; if not, somebody else has removed the file.
func (l *Log) lose(seg *segment) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.loseLocked(seg)
}

func (l *Log) forget() {
	r := l.r
	r.io.Lock() // against a flush of its own lane
	defer r.io.Unlock()
	r.mu.Lock()
	if r.procs[l.id] == l {
		delete(r.procs, l.id)
	}
	l.spans = nil
	l.endLocked()
	var segs []*segment
	if l.lane != nil {
		segs = r.discardLocked(l.lane)
	}
	r.mu.Unlock()
	r.unlink(segs)
}

// Info is what is known of a log without reading it. Index 0 is standard
// output, 1 is standard error.
type Info struct {
	Bytes, Lines               [2]int64 // ever written
	DroppedBytes, DroppedLines int64    // of these, no longer there
	Closed                     bool
}

// Info describes a proc's log; all zero if there is none.
func (s *Store) Info(realmID, proc string) Info {
	l := s.find(realmID, proc)
	if l == nil {
		return Info{}
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	in := Info{Bytes: l.written.bytes, Lines: l.written.lines, Closed: l.closed}
	var start pos
	for _, sp := range l.spans {
		if sp.seg == nil {
			b, n := sp.end.minus(start).of(0)
			in.DroppedBytes += b
			in.DroppedLines += n
		}
		start = sp.end
	}
	return in
}
