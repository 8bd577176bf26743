package rpc

import (
	"runtime"
	"sync"
	"time"

	"sigmaos/api"
)

// Who writes. A frame is queued in out, and then either
//
//   - the goroutine that queued it writes it itself (flushLocked), if it may
//     block and nothing else is under way: no goroutine has to be woken; or
//   - the writing goroutine is woken (wakeLocked). It lets the other goroutines
//     that can run go first, and so writes in one go what they queue; or
//   - somebody is writing: who writes looks at out again when a write is done.
//
// While nothing is under way a frame waits for nothing; the more there is, the
// more of it goes into one write.
const gathered = 16 << 10 // with that much queued there is no point in waiting for more

// wakeLocked makes sure that what is queued gets written by somebody else.
func (l *link) wakeLocked() {
	if l.writer == nil {
		if l.err != nil {
			return
		}
		l.writer = sync.NewCond(&l.mu)
		l.wg.Add(1)
		go l.write()
		return
	}
	if l.asleep {
		l.asleep = false
		l.writer.Signal()
	}
}

// write is the writing goroutine; it ends with the link.
func (l *link) write() {
	defer l.wg.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil {
		if l.writing || len(l.out) == 0 && !l.pong {
			l.asleep = true
			l.writer.Wait()
			continue
		}
		if len(l.out) < gathered {
			l.mu.Unlock()
			runtime.Gosched()
			l.mu.Lock()
		}
		l.flushLocked()
	}
}

// flushLocked writes what is queued, unless somebody is at it already, and
// leaves to the writing goroutine what was queued meanwhile.
func (l *link) flushLocked() {
	if l.writing || l.err != nil || len(l.out) == 0 && !l.pong {
		return
	}
	if l.pong {
		l.pong = false
		l.out = appendFrame(l.out, kPong, 0, 0, "", nil)
	}
	p := l.out
	l.out, l.spare = l.spare, nil
	l.writing = true
	l.changedLocked()
	l.mu.Unlock()
	err := l.send(p)
	l.mu.Lock()
	l.writing = false
	if err != nil {
		l.mu.Unlock()
		l.fail(api.E(api.Unavailable, "rpc", "", "write: %v", err))
		l.mu.Lock()
		return
	}
	if l.spare == nil && (cap(p) <= smallBuf || len(p) > cap(p)/8) { // a large buffer stays while it is used
		l.spare = p[:0]
	}
	if len(l.out) > 0 || l.pong {
		l.wakeLocked()
	}
}

// send writes p, in pieces so that somebody can see it progress, each within
// WriteTimeout, roughly: the deadline is moved when a quarter of it is gone,
// which is cheaper than for each write.
func (l *link) send(p []byte) error {
	for len(p) > 0 {
		if now := time.Now(); l.deadline != nil && now.Sub(l.armed) > l.opt.WriteTimeout/4 {
			l.armed = now
			l.deadline.SetWriteDeadline(now.Add(l.opt.WriteTimeout))
		}
		n, err := l.conn.Write(p[:min(len(p), largeBuf)])
		if err != nil {
			return err
		}
		l.wrote.Add(1)
		p = p[n:]
	}
	return nil
}
