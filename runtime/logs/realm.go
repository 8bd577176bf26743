package logs

import (
	"path/filepath"
	"sync"
	"time"

	"sigmaos/internal/clock"
)

// realm is one tenant's logs.
type realm struct {
	s   *Store
	id  string
	dir string

	// io is held while files are written and removed, so that a lane's buffers
	// reach it in order. It comes before mu.
	io       sync.Mutex
	failedAt time.Time // of the last write error that was logged

	mu      sync.Mutex
	procs   map[string]*Log
	lastKey uint64
	shared  *lane
	private map[*lane]struct{} // lanes of one proc that have or will have segments
	dirty   []*lane            // with something buffered; the tick empties it
	timer   clock.Timer        // the next tick; nil if none is set
	bytes   int64              // in files, all lanes
	dropped pos
	dead    bool // removed or closed: takes nothing
}

// lane is a sequence of segments: the realm's shared one, or one proc's own.
type lane struct {
	owner *Log       // nil: the shared lane
	segs  []*segment // oldest first; the last is appended to
	bytes int64      // in segs
	buf   []byte     // encoded records that are in no file yet
	pend  []pending  // what is in buf
	spare []byte     // the buffer that was written last
	dirty bool       // in realm.dirty
}

// pending is a record in a lane's buffer.
type pending struct {
	log    *Log
	off    int // of the header in the buffer
	size   int // of the data
	lines  int
	stream int
	nanos  int64
}

func newRealm(s *Store, id string) *realm {
	return &realm{
		s: s, id: id, dir: filepath.Join(s.dir, dirName(id)),
		procs: make(map[string]*Log), shared: &lane{}, private: make(map[*lane]struct{}),
	}
}

func (r *realm) proc(id string) *Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.procs[id]; l != nil {
		return l
	}
	r.lastKey++
	l := &Log{r: r, id: id, key: r.lastKey, closed: r.dead}
	if !r.dead {
		r.procs[id] = l
	}
	return l
}

// markDirtyLocked has ln flushed within flushAfter.
func (r *realm) markDirtyLocked(ln *lane) {
	if ln.dirty {
		return
	}
	ln.dirty = true
	r.dirty = append(r.dirty, ln)
	if r.timer == nil {
		r.s.ticks.Add(1)
		r.timer = r.s.clock.AfterFunc(flushAfter, r.tick)
	}
}

func (r *realm) tick() {
	defer r.s.ticks.Done()
	r.flushDirty()
}

func (r *realm) flushDirty() {
	r.mu.Lock()
	lanes := r.dirty
	r.dirty, r.timer = nil, nil
	for _, ln := range lanes {
		ln.dirty = false
	}
	r.mu.Unlock()
	for _, ln := range lanes {
		r.flush(ln)
	}
}

// stopTimerLocked takes back the tick, if it has not begun.
func (r *realm) stopTimerLocked() {
	if r.timer != nil && r.timer.Stop() {
		r.s.ticks.Done()
	}
	r.timer = nil
}

// close writes out everything and ends all logs.
func (r *realm) close() {
	r.mu.Lock()
	r.dead = true
	r.stopTimerLocked()
	for _, l := range r.procs {
		l.endLocked()
	}
	r.mu.Unlock()
	r.flushDirty()
}

// remove ends all logs and removes all files.
func (r *realm) remove() {
	r.io.Lock()
	defer r.io.Unlock()
	r.mu.Lock()
	r.dead = true
	r.stopTimerLocked()
	segs := r.discardLocked(r.shared)
	for ln := range r.private {
		segs = append(segs, r.discardLocked(ln)...)
	}
	for _, l := range r.procs {
		l.spans = nil
		l.endLocked()
	}
	clear(r.procs)
	r.dirty = nil
	r.mu.Unlock()
	r.unlink(segs)
	r.removeDir()
}

// discardLocked empties a lane whose writers have ended and returns its files,
// for unlink. Needs io too, so that no flush of the lane is on its way.
func (r *realm) discardLocked(ln *lane) []*segment {
	for _, p := range ln.pend {
		p.log.pending--
	}
	segs := ln.segs
	r.bytes -= ln.bytes
	delete(r.private, ln)
	*ln = lane{owner: ln.owner, dirty: ln.dirty}
	return segs
}

func (r *realm) stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := Stats{Procs: len(r.procs), Segments: len(r.shared.segs), Bytes: r.bytes}
	st.DroppedBytes, st.DroppedLines = r.dropped.of(0)
	for ln := range r.private {
		st.Segments += len(ln.segs)
	}
	return st
}
