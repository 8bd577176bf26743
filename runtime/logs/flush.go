package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// complainEvery bounds how often one realm's write errors are logged.
const complainEvery = time.Minute

// flush writes out what a lane has buffered, and waits for one that is doing so.
func (r *realm) flush(ln *lane) {
	r.io.Lock()
	defer r.io.Unlock()
	r.flushHoldingIO(ln)
}

func (r *realm) flushHoldingIO(ln *lane) {
	r.mu.Lock()
	if len(ln.pend) == 0 {
		r.mu.Unlock()
		return
	}
	buf, pend := ln.buf, ln.pend
	ln.buf, ln.pend, ln.spare = ln.spare[:0], nil, nil
	seg, old := r.makeRoomLocked(ln, int64(len(buf)))
	r.mu.Unlock()

	r.unlink(old)
	err := r.write(seg, buf)
	if err != nil {
		r.complain(err, len(pend))
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	base := seg.size
	if err == nil {
		seg.size += int64(len(buf))
		ln.bytes += int64(len(buf))
		r.bytes += int64(len(buf))
	}
	for _, p := range pend {
		p.log.pending--
		if err != nil {
			r.dropped.add(p.stream, int64(p.size), int64(p.lines))
			p.log.indexLocked(p, nil, 0)
		} else {
			p.log.indexLocked(p, seg, base+int64(p.off))
		}
	}
	switch {
	case ln.owner != nil && ln.owner.closed && len(ln.pend) == 0:
		ln.buf = nil // written for the last time
	case cap(buf) <= 2*maxRecord:
		ln.spare = buf[:0]
	}
}

// makeRoomLocked returns the segment that size bytes go to and the files that
// have to go for them; their spans are marked already.
func (r *realm) makeRoomLocked(ln *lane, size int64) (*segment, []*segment) {
	lim := &r.s.limits
	var old []*segment
	if ln.owner != nil {
		for len(ln.segs) > 0 && ln.bytes+size > lim.ProcBytes-lim.head() {
			old = append(old, r.dropOldestLocked(ln))
		}
	}
	for r.bytes > 0 && r.bytes+size > lim.RealmBytes {
		old = append(old, r.dropOldestLocked(r.payingLaneLocked()))
	}
	if n := len(ln.segs); n > 0 {
		// An empty one was made for a write that failed.
		if last := ln.segs[n-1]; last.size == 0 || last.size+size <= lim.segment(ln.owner != nil) {
			return last, old
		}
	}
	n := r.s.files.Add(1)
	seg := &segment{n: n, path: filepath.Join(r.dir, fmt.Sprintf("%d.seg", n))}
	ln.segs = append(ln.segs, seg)
	if ln.owner != nil {
		r.private[ln] = struct{}{}
	}
	return seg, old
}

// payingLaneLocked is the lane whose oldest segment goes when the realm is full:
// the private one with the oldest segment, while private lanes have more than
// half or the shared lane has nothing; else the shared lane.
func (r *realm) payingLaneLocked() *lane {
	if private := r.bytes - r.shared.bytes; private <= r.s.limits.RealmBytes/2 && r.shared.bytes > 0 {
		return r.shared
	}
	var oldest *lane
	for ln := range r.private {
		if ln.bytes > 0 && (oldest == nil || ln.segs[0].n < oldest.segs[0].n) {
			oldest = ln
		}
	}
	return oldest
}

// dropOldestLocked takes the oldest segment out of a lane and out of the index.
func (r *realm) dropOldestLocked(ln *lane) *segment {
	seg := ln.segs[0]
	ln.segs = slices.Delete(ln.segs, 0, 1)
	ln.bytes -= seg.size
	r.bytes -= seg.size
	if len(ln.segs) == 0 {
		delete(r.private, ln)
	}
	if ln.owner != nil {
		ln.owner.loseLocked(seg)
		return seg
	}
	// All procs rather than a list per segment: lists would cost more memory
	// than the index itself, and this happens about once per MiB.
	for _, l := range r.procs {
		l.loseLocked(seg)
	}
	return seg
}

// write appends to a segment's file. No file is kept open: at one flush in
// 50 ms or 64 KiB opening costs less than minding descriptors would. It writes
// at the known size, so that what a failed write left is overwritten.
func (r *realm) write(seg *segment, buf []byte) error {
	f, err := os.OpenFile(seg.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(r.dir, 0o700); err == nil {
			f, err = os.OpenFile(seg.path, os.O_WRONLY|os.O_CREATE, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(buf, seg.size)
	if err != nil {
		_ = f.Truncate(seg.size) // gives the disk its blocks back; the next write is right without, too
	}
	return errors.Join(err, f.Close())
}

// complain logs a write error now and then. Needs io.
func (r *realm) complain(err error, records int) {
	now := r.s.clock.Now()
	if !r.failedAt.IsZero() && now.Sub(r.failedAt) < complainEvery {
		return
	}
	r.failedAt = now
	r.s.log.Error("output of procs is being lost: cannot write its log", "realm", r.id, "records", records, "err", err)
}

func (r *realm) unlink(segs []*segment) {
	for _, seg := range segs {
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.s.log.Error("cannot remove a log segment", "realm", r.id, "err", err)
		}
	}
}

func (r *realm) removeDir() {
	err := os.Remove(r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.s.log.Warn("cannot remove a realm's log directory", "realm", r.id, "err", err)
	}
}
