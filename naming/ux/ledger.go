package ux

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// Usage is what a realm has and may have on this node.
type Usage struct {
	Quota        // the limits
	Used   Quota // so far
	Open   int   // files that are open or handed out
	Handed int   // of those, known to procs by their descriptor
}

// ledger counts a realm's room. It is exact: room is taken before the disk is
// written, and given back when the disk has it again.
type ledger struct {
	mu    sync.Mutex
	limit Quota
	used  Quota
}

// charge is what a file of size bytes counts.
func charge(size int64) int64 {
	return (size + blockSize - 1) / blockSize * blockSize
}

func (l *ledger) add(bytes, inodes int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// What shrinks is always allowed: a quota may have been lowered.
	if bytes > 0 && bytes > l.limit.Bytes-l.used.Bytes || inodes > 0 && inodes > l.limit.Inodes-l.used.Inodes {
		return false
	}
	l.used.Bytes += bytes
	l.used.Inodes += inodes
	return true
}

func (l *ledger) read() (limit, used Quota) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit, l.used
}

func (l *ledger) setLimit(q Quota) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = q
}

// take takes room, or says why there is none. What was waiting to be freed is
// looked at before it refuses. A lock on content may be held.
func (r *realm) take(op, subject string, bytes, inodes int64) error {
	if limit, _ := r.ledger.read(); bytes > limit.Bytes {
		return api.E(api.TooLarge, op, subject, "%s more; all of the realm may have %s on node %s", size(bytes), size(limit.Bytes), r.s.cfg.Node)
	}
	if bytes > 0 && !r.s.disk.room(bytes) {
		return r.s.diskFull(op, subject)
	}
	if r.ledger.add(bytes, inodes) {
		return nil
	}
	if r.sweep(); r.ledger.add(bytes, inodes) {
		return nil
	}
	limit, used := r.ledger.read()
	return api.E(api.Busy, op, subject, "the realm's scratch space on node %s is used up (%s of %s, %d of %d files); remove files, use another node, or ask the operator for a larger quota",
		r.s.cfg.Node, size(used.Bytes), size(limit.Bytes), used.Inodes, limit.Inodes)
}

// give gives room back.
func (r *realm) give(bytes, inodes int64) { r.ledger.add(-bytes, -inodes) }

// fits says whether a file may have size bytes at all.
func (r *realm) fits(op, subject string, want int64) error {
	if limit, _ := r.ledger.read(); want > limit.Bytes {
		return api.E(api.TooLarge, op, subject, "a file of %s; all of the realm may have %s on node %s", size(want), size(limit.Bytes), r.s.cfg.Node)
	}
	return nil
}

// size is a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift {
			return fmt.Sprintf("%.4g %s", float64(n)/float64(int64(1)<<u.shift), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// disk guards the last bytes of the file system, which root could fill.
type disk struct {
	fd        int
	keep      int64
	unchecked atomic.Int64 // bytes since the disk was asked last
	full      atomic.Bool
}

const checkEvery = 1 << 20 // bytes

func (d *disk) room(bytes int64) bool {
	if d.unchecked.Add(bytes) < checkEvery && !d.full.Load() {
		return true
	}
	free, err := d.free()
	if err != nil {
		return true // the write will tell
	}
	d.unchecked.Store(0)
	d.full.Store(free < bytes)
	return free >= bytes
}

// free is what ux may still use of the disk.
func (d *disk) free() (int64, error) {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(d.fd, &st) })
	return int64(st.Bavail)*st.Bsize - d.keep, err
}

// measure sets what is kept free.
func (d *disk) measure(keep int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return err
	}
	switch d.keep = keep; {
	case keep == 0:
		d.keep = min(int64(st.Blocks)*st.Bsize/20, 1<<30)
	case keep < 0:
		d.keep = 0
	}
	return nil
}
