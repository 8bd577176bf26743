package logs

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pump copies what comes out of a slot's two pipes into the log of the proc
// that runs in it. One goroutine per pipe sleeps in the runtime's poller; all
// reads are non-blocking ones made under the pump's lock, together with the
// append, so that no byte is in flight when the attached log changes.
//
// Over Limits.Rate the pump stops reading until the proc has paid; the pipe
// fills up and the proc's writes block. Attach starts with a full burst.
type Pump struct {
	s     *Store
	pipes [2]*pipe
	wg    sync.WaitGroup // the two goroutines

	mu     sync.Mutex
	log    *Log // nil between procs: what comes then is nobody's and is dropped
	bucket bucket
	closed bool
}

// pipe is one of the two. Fields below f are guarded by Pump.mu.
type pipe struct {
	p      *Pump
	stream int
	f      *os.File
	conn   syscall.RawConn
	wake   chan struct{} // ends a pause; holds one token

	ended  bool          // nothing more can come: end of file, error or Close
	err    error         // why, if it was an error
	pause  time.Duration // > 0: over the rate for so long
	excess bool          // the last drain did not come to an end

	// The two callbacks, made once: Attach and Detach allocate nothing.
	onReady func(fd uintptr) bool
	onDrain func(fd uintptr)
}

// NewPump takes over the read ends of a slot's two pipes, which must be
// non-blocking so that the runtime can poll them; Close closes them. On error
// they stay the caller's.
func NewPump(stdout, stderr *os.File, s *Store) (*Pump, error) {
	p := &Pump{s: s, bucket: bucket{rate: float64(s.limits.Rate), burst: float64(s.limits.Burst)}}
	for i, f := range []*os.File{stdout, stderr} {
		// Also takes a deadline back that somebody may have set.
		if err := f.SetReadDeadline(time.Time{}); err != nil {
			return nil, fmt.Errorf("log pump: stream %d cannot be polled: %w", i+1, err)
		}
		conn, err := f.SyscallConn()
		if err != nil {
			return nil, fmt.Errorf("log pump: stream %d: %w", i+1, err)
		}
		pp := &pipe{p: p, stream: i + 1, f: f, conn: conn, wake: make(chan struct{}, 1)}
		pp.onReady, pp.onDrain = pp.ready, pp.drain
		p.pipes[i] = pp
	}
	for _, pp := range p.pipes {
		p.wg.Go(pp.run)
	}
	return p, nil
}

// Attach sends what comes from now on to l. Call it before the proc starts.
// What is still in the pipes goes to the log attached before, or nowhere; the
// error is that of Detach.
func (p *Pump) Attach(l *Log) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.drainLocked()
	p.log = l
	p.bucket.fill(p.s.clock.Monotonic())
	for _, pp := range p.pipes {
		if pp.pause > 0 {
			pp.kick()
		}
	}
	return err
}

// Detach reads what is left in the pipes, whatever the rate, and detaches the
// log, which is then complete but not closed. Call it when nothing that could
// write is alive. An error says that something is: more came than a pipe
// holds. The slot is then no good any more.
func (p *Pump) Detach() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.drainLocked()
	p.log = nil
	return err
}

func (p *Pump) drainLocked() error {
	for _, pp := range p.pipes {
		if pp.ended {
			continue
		}
		pp.excess = false
		// Control and not Read, which would wait for the goroutine that sleeps
		// in Read. Its error says that the file is closed: nothing to drain.
		_ = pp.conn.Control(pp.onDrain)
		if pp.excess {
			return fmt.Errorf("log pump: stream %d is still being written to after the proc's end", pp.stream)
		}
	}
	return nil
}

// Close drains the pipes, detaches, closes both files and waits for the
// goroutines.
func (p *Pump) Close() error {
	err := p.Detach()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	for _, pp := range p.pipes {
		pp.kick()
		if cerr := pp.f.Close(); err == nil {
			err = cerr
		}
	}
	p.wg.Wait()
	return err
}

// run is the goroutine of one pipe; Close ends it, or the end of the pipe.
func (pp *pipe) run() {
	for {
		if err := pp.conn.Read(pp.onReady); err != nil {
			return // closed
		}
		pp.p.mu.Lock()
		ended, err, pause := pp.ended, pp.err, pp.pause
		pp.p.mu.Unlock()
		if err != nil {
			pp.p.s.log.Error("output of a slot is being lost: cannot read its pipe", "stream", pp.stream, "err", err)
		}
		if ended {
			return
		}
		if pause > 0 {
			t := pp.p.s.clock.AfterFunc(pause, pp.kick)
			<-pp.wake
			t.Stop()
		}
	}
}

// kick ends the pause of run, or the next one at once, which then merely looks
// at the bucket again.
func (pp *pipe) kick() {
	select {
	case pp.wake <- struct{}{}:
	default:
	}
}

// ready reads once if the bucket allows it. It is false if the pipe is empty;
// the poller then waits and calls again.
func (pp *pipe) ready(fd uintptr) bool {
	p := pp.p
	p.mu.Lock()
	defer p.mu.Unlock()
	pp.pause = 0
	if p.closed || pp.ended {
		pp.ended = true
		return true
	}
	room := maxRecord
	if p.log != nil {
		room = min(room, p.bucket.allowed(p.s.clock.Monotonic()))
		if room == 0 {
			pp.pause = p.bucket.delay(maxRecord)
			return true
		}
	}
	n, again := pp.read(fd, room)
	p.bucket.take(n)
	return !again
}

// drain reads until the pipe is empty, but not more than it holds.
func (pp *pipe) drain(fd uintptr) {
	capacity := 0
	for total := 0; !pp.ended; {
		n, again := pp.read(fd, maxRecord)
		if again {
			return
		}
		if total += n; total <= maxRecord {
			continue
		}
		if capacity == 0 {
			// Asked only now: it is one more call, and a proc may change it.
			size, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0)
			capacity = size
			if err != nil {
				capacity = maxRecord
			}
		}
		if total > capacity {
			pp.excess = true
			return
		}
	}
}

// read makes one read of at most room bytes and writes them to the log. Again
// says that the pipe is empty.
func (pp *pipe) read(fd uintptr, room int) (n int, again bool) {
	p := pp.p
	buf := p.s.readers.Get().(*[maxRecord]byte)
	defer p.s.readers.Put(buf)
	n, errno := rawRead(fd, buf[:room])
	switch {
	case errno == unix.EAGAIN:
		return 0, true
	case errno != 0:
		pp.ended, pp.err = true, errno
		return 0, false
	case n == 0:
		pp.ended = true
	case p.log != nil:
		p.log.Write(pp.stream, buf[:n])
	}
	return n, false
}

// rawRead reads a non-blocking descriptor without telling the scheduler, which
// has nothing to do for a call that does not wait.
func rawRead(fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if e != unix.EINTR {
			return int(n), e
		}
	}
}
