package slot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/net/fdpass"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/logs"
)

// Spec is one proc to start. Control is the proc's end of its descriptor 3;
// Start closes it, whatever comes of the start.
type Spec struct {
	Program string // file name in the realm's folder of binfs
	Arg0    string
	Args    []string
	Env     []string
	FDs     int64 // RLIMIT_NOFILE, at most ExecFD
	Memory  int64 // bytes
	Threads int64
	MCPU    int64 // LC only
	Control Donated
	Log     *logs.Log // nil drops the output
}

// Donated is a descriptor that changes its owner: whoever is handed it closes
// it.
type Donated int

// Close closes the descriptor: one of a socket that has its other owner, so
// the call does not wait, and the scheduler is not told of it (see fdpass).
func (d Donated) Close() error {
	if _, _, e := syscall.RawSyscall(unix.SYS_CLOSE, uintptr(d), 0, 0); e != 0 {
		return e
	}
	return nil
}

// End is what became of a proc.
type End struct {
	Status syscall.WaitStatus
	Stage  uint32 // when not 0 the proc was never exec'ed: what failed …
	Errno  syscall.Errno
	Died   bool // the slot itself died; Status means nothing
	OOM    bool // the kernel killed something in the slot for memory
	CPU    time.Duration
	RSS    int64 // peak, bytes
	Taken  int64 // ns of CLOCK_MONOTONIC: the child had the message, …
	Exec   int64 // … and was about to exec
	Denied map[int]int
}

// Err is the reason why a proc was never exec'ed, or nil.
func (e End) Err() error {
	if e.Stage == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", stageName(e.Stage), e.Errno)
}

// mountLost reports that the proc was never exec'ed because the mount of the
// programs is dead, and with it the slot.
func (e End) mountLost() bool {
	return e.Stage != 0 && (e.Errno == syscall.ENOTCONN || e.Errno == syscall.ECONNABORTED)
}

// TryAgain reports that nothing of the program has run and that the reason is
// the slot's: the start can be made in another one.
func (e End) TryAgain() bool { return e.mountLost() }

// Slot is one σcontainer. A Slot is lent to one user at a time.
type Slot struct {
	n      uint64
	realm  string
	class  cgroup.Class
	execFD uint32 // all descriptors of its procs are below
	uid    uint32
	maker  *Maker
	group  *cgroup.Group
	proc   *os.Process
	pidfd  int
	ctl    *fdpass.Conn // reports in, commands out; its end is the slot's end
	start  *fdpass.Conn
	board  []byte
	pump   *logs.Pump
	notify *notifier
	log    *slog.Logger
	wg     sync.WaitGroup // reports and the notifier
	gone   chan struct{}  // closed when everything was given back

	buf []byte // start message, reused; guarded by mu

	mu      sync.Mutex
	seq     uint32
	onEnd   func(End) // not nil while a proc runs
	ooms    int       // kills seen before the current proc
	dead    bool
	bad     bool // do not use again
	since   atomic.Int64
	closing sync.Once
}

var errDead = errors.New("slot: it has died")

// Realm and Class say whom the slot serves.
func (s *Slot) Realm() string       { return s.realm }
func (s *Slot) Class() cgroup.Class { return s.class }

// Start gives spec to the waiting child and returns; onEnd is called once, from
// a goroutine of the slot, after the proc's output was read to its end. An
// error means that nothing was started and, but for ErrResting, that the slot is
// of no further use.
func (s *Slot) Start(spec Spec, onEnd func(End)) error {
	defer spec.Control.Close()
	if err := s.limit(spec); err != nil {
		if err != ErrResting {
			s.spoil()
		}
		return err
	}
	s.mu.Lock()
	if s.dead || s.onEnd != nil {
		s.mu.Unlock()
		return errDead
	}
	s.seq++
	seq := s.seq
	s.onEnd = onEnd
	buf := s.buf
	s.buf = nil // the proc may end, and the next one start, before we are through
	s.mu.Unlock()
	if err := s.pump.Attach(spec.Log); err != nil {
		s.log.Warn("output of a proc is lost", "err", err)
	}
	s.since.Store(time.Now().UnixNano())

	buf = appendStart(buf[:0], seq, &spec)
	err := s.start.TrySend(buf, int(spec.Control))
	s.mu.Lock()
	if cap(buf) <= 16<<10 {
		s.buf = buf
	}
	if err != nil {
		s.onEnd = nil
	}
	s.mu.Unlock()
	if err != nil {
		s.pump.Detach()
		s.spoil()
		return fmt.Errorf("slot: start: %w", err)
	}
	return nil
}

// ErrResting is Start's error for a slot in which too much is left of earlier
// procs for one with a small limit: the kernel frees page tables, tasks and
// pipes a few ms late, and counts them until then. The slot is as good as any
// other, a little later.
var ErrResting = errors.New("slot: the kernel has not freed its last proc's memory yet")

// small is the limit below which that is looked at: more than 5 MiB were never
// seen, at any rate of starts.
const small = 12 << 20

// InitMemory is what PID 1 and the kernel may have in the group beyond the
// proc's own limit: without it, 16 of 1,000 procs of two system calls did not
// live under 1 MiB, and after a proc with many threads not all under 2 MiB, for
// the kernel frees their stacks late.
const InitMemory = 1 << 20

// initThreads are PID 1's, which the pids limit counts too.
const initThreads = 2

// limit sets what the cgroup enforces; equal values cost nothing.
func (s *Slot) limit(spec Spec) error {
	memory := spec.Memory + InitMemory
	if err := s.group.SetMemory(memory); errors.Is(err, syscall.EBUSY) {
		return ErrResting
	} else if err != nil {
		return err
	}
	if memory < small {
		if ok, err := s.group.Below(memory / 2); err == nil && !ok {
			return ErrResting
		}
	}
	if err := s.group.SetPids(int(spec.Threads) + initThreads); err != nil {
		return err
	}
	return s.group.SetCPU(int(spec.MCPU))
}

// Seq is the number of the current or last start: what Signal wants.
func (s *Slot) Seq() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// Signal sends sig to the proc of start seq; when that has ended nobody gets it.
func (s *Slot) Signal(seq uint32, sig syscall.Signal) error {
	return s.ctl.TrySend(command(seq, uint32(sig)), -1)
}

// Stamps are those of the proc that runs now, 0 where not reached.
func (s *Slot) Stamps() (taken, exec int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	le := binary.NativeEndian
	if s.dead || le.Uint32(s.board) == 0 {
		return 0, 0
	}
	return int64(le.Uint64(s.board[8:])), int64(le.Uint64(s.board[16:]))
}

// Denied are the system calls that were refused to the current proc.
func (s *Slot) Denied() map[int]int { return s.notify.counts(false) }

// Stats are those of the slot's cgroup: PID 1 and the proc.
func (s *Slot) Stats() (cgroup.Stats, error) { return s.group.Stats() }

// Procs are the host pids in the slot, PID 1 first.
func (s *Slot) Procs() ([]int, error) { return s.group.Procs() }

// InitPid is the host pid of PID 1.
func (s *Slot) InitPid() int { return s.proc.Pid }

// busyFor says how long the current proc runs; 0 when none does.
func (s *Slot) busyFor(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onEnd == nil {
		return 0
	}
	return time.Duration(now.UnixNano() - s.since.Load())
}

// reports reads what PID 1 says until it ends.
func (s *Slot) reports() {
	defer s.wg.Done()
	var buf [reportSize + 1]byte
	for {
		n, err := s.ctl.Read(buf[:])
		if err != nil || n == 0 {
			break
		}
		r, err := parseReport(buf[:n])
		if err != nil {
			s.log.Error("slot speaks nonsense", "err", err)
			break
		}
		if r.kind == kindFailed || r.seq == 0 {
			s.log.Error("slot failed while idle", "err", r.err())
			break
		}
		s.ended(r)
	}
	s.died()
}

func (s *Slot) ended(r report) {
	e := End{
		Status: syscall.WaitStatus(r.status), Stage: r.stage, Errno: syscall.Errno(r.errno),
		CPU: r.cpu, RSS: r.maxRSS, Taken: r.taken, Exec: r.exec,
	}
	s.pump.Detach()
	e.Denied = s.notify.counts(true)
	if s.notify.closed.Load() || e.mountLost() {
		s.spoil()
	}
	if e.Status.Signaled() && e.Status.Signal() == syscall.SIGKILL {
		if n, err := s.group.OOMKills(); err == nil && n > s.ooms {
			e.OOM, s.ooms = true, n
		}
	}
	s.mu.Lock()
	fn := s.onEnd
	s.onEnd = nil
	ok := r.seq == s.seq
	s.mu.Unlock()
	if !ok {
		s.log.Error("slot reports another start than the last", "seq", r.seq)
		s.spoil()
	}
	if fn != nil {
		fn(e)
	}
}

// died ends the current proc's wait when PID 1 is gone, and gives everything
// back.
func (s *Slot) died() {
	s.mu.Lock()
	s.dead = true
	fn := s.onEnd
	s.onEnd = nil
	s.mu.Unlock()
	unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
	s.proc.Wait() // bounded: killed, and its namespace with it
	s.ctl.Close()
	s.start.Close()
	s.notify.f.Close()
	s.pump.Detach()
	s.pump.Close()
	e := End{Died: true, Denied: s.notify.counts(true)}
	if n, err := s.group.OOMKills(); err == nil && n > s.ooms {
		e.OOM = true
	}
	if fn != nil {
		fn(e)
	}
	go func() { // the rest can wait for the kernel
		s.wg.Wait()
		s.group.SetCPU(0)
		if err := s.group.Close(); err != nil {
			s.log.Warn("cgroup of a slot stays", "err", err)
		}
		unix.Close(s.pidfd)
		unix.Munmap(s.board)
		s.maker.giveUID(s.uid)
		close(s.gone)
	}()
}

func (s *Slot) spoil() {
	s.mu.Lock()
	s.bad = true
	s.mu.Unlock()
}

// usable reports whether the slot can serve again.
func (s *Slot) usable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.bad && !s.dead
}

// Close ends the slot and what runs in it. It does not wait; Gone tells.
func (s *Slot) Close() {
	s.closing.Do(func() {
		// The socket's end is what PID 1 watches; the kill is for one that hangs.
		s.ctl.Shutdown()
	})
}

// Gone is closed when the slot's processes, cgroup and uid were given back.
func (s *Slot) Gone() <-chan struct{} { return s.gone }
