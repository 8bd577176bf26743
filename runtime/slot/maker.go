package slot

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/internal/cleanup"
	"sigmaos/internal/failpoint"
	"sigmaos/net/fdpass"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/logs"
	"sigmaos/runtime/lsm"
	"sigmaos/runtime/oom"
	"sigmaos/runtime/seccomp"
	"sigmaos/runtime/threads"
)

// Slice is the slice of latency-critical procs: less than the kernel gives anybody
// who asks for none, so that they wait for no such slice to end when they wake up.
const Slice = 100 * time.Microsecond

// A slot's child may exec from one descriptor number alone, which is the upper
// bound of its procs' descriptor limits. Opening it makes the kernel allocate a
// table up to there, at every start: so procs with usual limits have slots with
// the lower one (64 KiB and their accounting less, 3 % of a start).
const (
	ExecFD  = 4096
	usualFD = 1024
)

// execFD is the descriptor of slots for procs with this limit.
func execFD(fds int64) uint32 {
	if fds <= usualFD {
		return usualFD
	}
	return ExecFD
}

// Binfs says where the programs and the jail template are: paths inside the
// mount namespace of the process that serves them. sigmad never joins it.
type Binfs interface {
	MountNS() *os.File
	Binfs() string
	Jail() string
}

// Config is what all slots of a node share.
type Config struct {
	Cgroups  *cgroup.Tree
	Layers   lsm.Layers
	OOM      oom.Order
	UIDBase  uint32 // first uid of the slots
	UIDCount uint32
	Logs     *logs.Store
	Logger   *slog.Logger
}

// Maker makes slots. It owns the memory file that holds PID 1's program.
type Maker struct {
	cfg     Config
	program *os.File
	nowhere *nowhere
	next    atomic.Uint64

	mu   sync.Mutex
	uids []uint32 // free
}

// Descriptors of sigmad: what it has without slots, at most, and for each of
// them, its proc's channel included.
const (
	baseFDs = 512
	slotFDs = 10
)

// MaxSlots is how many slots sigmad's limit of open files allows.
func MaxSlots() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1
	}
	return max(1, int(min(limit.Cur, 1<<20)-baseFDs)/slotFDs)
}

// NewMaker puts PID 1's program where it can be exec'ed.
func NewMaker(cfg Config) (*Maker, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max <= ExecFD {
		return nil, fmt.Errorf("slot: the hard limit of open files is %d; sigmad needs %d, and 8 for each σcontainer more: raise it (ulimit -Hn, LimitNOFILE=, docker run --ulimit nofile=)", limit.Max, ExecFD+1)
	}
	fd, err := unix.MemfdCreate("slotinit", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 every memfd is executable
		fd, err = unix.MemfdCreate("slotinit", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("slot: memfd for PID 1: %w", err)
	}
	f := os.NewFile(uintptr(fd), "slotinit")
	init, err := initOf()
	if err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Write(init); err != nil {
		f.Close()
		return nil, fmt.Errorf("slot: writing PID 1: %w", err)
	}
	// A memory file open for writing cannot be exec'ed: keep a read-only one.
	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("slot: %w", err)
	}
	away, err := enterNowhere()
	if err != nil {
		ro.Close()
		return nil, err
	}
	m := &Maker{cfg: cfg, program: ro, nowhere: away}
	for i := cfg.UIDCount; i > 0; i-- {
		m.uids = append(m.uids, cfg.UIDBase+i-1)
	}
	return m, nil
}

// Close gives the program's memory back; slots made before go on. Make must
// not be called any more.
func (m *Maker) Close() error {
	m.nowhere.close()
	return m.program.Close()
}

func (m *Maker) takeUID() (uint32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.uids) == 0 {
		return 0, fmt.Errorf("slot: all %d uids are in use; raise uid-count", m.cfg.UIDCount)
	}
	u := m.uids[len(m.uids)-1]
	m.uids = m.uids[:len(m.uids)-1]
	return u, nil
}

func (m *Maker) giveUID(u uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Oldest first out: a uid rests as long as possible.
	m.uids = append([]uint32{u}, m.uids...)
}

func socketpair() (ours *fdpass.Conn, theirs *os.File, err error) {
	ours, fd, err := fdpass.Pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, fmt.Errorf("slot: %w", err)
	}
	return ours, os.NewFile(uintptr(fd), "slot"), nil
}

func pipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("slot: pipe: %w", err)
	}
	unix.SetNonblock(p[0], true)
	return os.NewFile(uintptr(p[0]), "log"), os.NewFile(uintptr(p[1]), "log"), nil
}

// Make builds one slot for a realm and class, for procs with up to so many
// descriptors. It takes milliseconds and is
// never on the path of a start. b must be alive; when it dies, so must the slot
// when idle, for its mount is dead.
func (m *Maker) Make(b Binfs, realm string, class cgroup.Class, fds int64) (_ *Slot, err error) {
	undo := cleanup.Make(func() {})
	defer undo.Clean()
	uid, err := m.takeUID()
	if err != nil {
		return nil, err
	}
	undo.Add(func() { m.giveUID(uid) })
	n := m.next.Add(1)
	group, err := m.cfg.Cgroups.NewGroup(class, realm, fmt.Sprintf("%d", n))
	if err != nil {
		return nil, err
	}
	undo.Add(func() { group.Close() })
	failpoint.Hit("slot-group")

	s := &Slot{n: n, realm: realm, class: class, execFD: execFD(fds), uid: uid, maker: m, group: group, log: m.cfg.Logger.With("slot", n, "realm", realm), gone: make(chan struct{})}
	ctl, ctlChild, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer ctlChild.Close()
	undo.Add(func() { ctl.Close() })
	start, startChild, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer startChild.Close()
	undo.Add(func() { start.Close() })
	if rc, err := start.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 512<<10) })
	}
	outR, outW, err := pipe()
	if err != nil {
		return nil, err
	}
	defer outW.Close()
	undo.Add(func() { outR.Close() })
	errR, errW, err := pipe()
	if err != nil {
		return nil, err
	}
	defer errW.Close()
	undo.Add(func() { errR.Close() })
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	memfd, err := unix.MemfdCreate("board", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("slot: memfd: %w", err)
	}
	boardFile := os.NewFile(uintptr(memfd), "board")
	defer boardFile.Close()
	if err := boardFile.Truncate(4096); err != nil {
		return nil, err
	}
	board, err := unix.Mmap(memfd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("slot: mmap: %w", err)
	}
	undo.Add(func() { unix.Munmap(board) })

	pidfd := -1
	flags, launch := uintptr(unix.CLONE_NEWPID|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC), m.nowhere.start
	if Without(Namespaces) {
		flags, launch = 0, os.StartProcess
	}
	proc, err := launch(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(m.program.Fd())), []string{"slotinit"}, &os.ProcAttr{
		Dir: "/", Env: []string{},
		Files: []*os.File{null, outW, errW, ctlChild, startChild},
		Sys: &syscall.SysProcAttr{
			Cloneflags: flags,
			Setsid:     true,
			PidFD:      &pidfd,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("slot: starting PID 1: %w", err)
	}
	s.proc, s.pidfd = proc, pidfd
	undo.Add(func() { proc.Kill(); proc.Wait(); unix.Close(pidfd) })
	ctlChild.Close()
	startChild.Close()
	failpoint.Hit("slot-pid1")
	// The program's descriptor has this number; a shell's usual limit is less.
	limit := unix.Rlimit{Cur: uint64(s.execFD) + 1, Max: uint64(s.execFD) + 1}
	if err := unix.Prlimit(proc.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		return nil, fmt.Errorf("slot: allowing PID 1 %d descriptors (raise the hard limit of sigmad, ulimit -Hn): %w", limit.Max, err)
	}
	score := m.cfg.OOM.BE
	if class == cgroup.LC {
		score = m.cfg.OOM.LC
	}
	if err := oom.Set(proc.Pid, score); err != nil { // procs have it from PID 1
		return nil, err
	}
	if class == cgroup.LC {
		if err := threads.SetSlice(proc.Pid, Slice); err != nil {
			m.cfg.Logger.Debug("slot", "err", err)
		}
	}
	if err := group.Add(proc.Pid); err != nil {
		return nil, err
	}
	var random [8]byte
	rand.Read(random[:])
	key := binary.NativeEndian.Uint64(random[:])
	filter, err := seccomp.Filter(goruntime.GOARCH, int(s.execFD), key)
	if err != nil {
		return nil, err
	}
	layers := m.cfg.Layers
	if Without(LSM) {
		layers = lsm.Layers{}
	}
	if Without(Seccomp) {
		filter = allowAll
	}
	c := config{
		uid: uid, execFD: s.execFD, filter: seccomp.Bytes(filter), key: key,
		binfs: b.Binfs() + "/" + realm, jail: b.Jail(), apparmor: layers.AppArmor,
	}
	c.llSize, c.llFS, c.llNet, c.llScoped = layers.Ruleset()
	ns, err := b.MountNS().SyscallConn()
	if err == nil { // its number does not become another's meanwhile, although the mount may die
		var sent error
		err = ns.Control(func(fd uintptr) { sent = sendmsg(ctl, c.encode(), unix.UnixRights(int(fd), memfd)) })
		err = errors.Join(err, sent)
	}
	if err != nil {
		return nil, fmt.Errorf("slot: configuring PID 1: %w", err)
	}
	failpoint.Hit("slot-configured")
	var buf [reportSize]byte
	ctl.SetReadDeadline(time.Now().Add(10 * time.Second))
	k, err := ctl.Read(buf[:])
	if err != nil {
		return nil, fmt.Errorf("slot: PID 1 did not get ready: %w", err)
	}
	ctl.SetReadDeadline(time.Time{})
	r, err := parseReport(buf[:k])
	if err != nil {
		return nil, err
	}
	if r.kind != kindReady {
		return nil, r.err()
	}
	lis, err := unix.PidfdGetfd(pidfd, int(r.status), 0)
	if err != nil {
		return nil, fmt.Errorf("slot: taking the filter's listener: %w", err)
	}
	unix.CloseOnExec(lis)
	unix.SetNonblock(lis, true)
	notify := os.NewFile(uintptr(lis), "seccomp")
	undo.Add(func() { notify.Close() })
	failpoint.Hit("slot-ready")
	if err := ctl.TrySend(command(0, 0), -1); err != nil {
		return nil, fmt.Errorf("slot: %w", err)
	}
	s.ctl, s.start, s.board = ctl, start, board
	if s.pump, err = logs.NewPump(outR, errR, m.cfg.Logs); err != nil {
		return nil, err
	}
	s.notify = &notifier{f: notify, arch: goruntime.GOARCH, log: s.log}
	undo.Release()
	s.wg.Add(2)
	go s.reports()
	go func() { defer s.wg.Done(); s.notify.run() }()
	return s, nil
}

// sendmsg writes the configuration, with several descriptors.
func sendmsg(c *fdpass.Conn, b, rights []byte) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = rc.Control(func(fd uintptr) {
		serr = unix.Sendmsg(int(fd), b, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
	return errors.Join(err, serr)
}
