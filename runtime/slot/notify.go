package slot

import (
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/seccomp"
)

// MaxDenied is how many refused calls of a proc are counted. One that goes on
// asking for what it may not have costs sigmad a switch each time; after this
// many the listener is closed and the kernel answers ENOSYS alone.
const MaxDenied = 32

// notifier answers the system calls that the filter did not allow, and notes
// their numbers so that `why` can name them.
type notifier struct {
	f    *os.File
	arch string
	log  *slog.Logger

	closed atomic.Bool
	total  int

	mu     sync.Mutex
	denied map[int]int
}

// struct seccomp_notif and seccomp_notif_resp of linux/seccomp.h.
type seccompNotif struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type seccompResp struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

const (
	notifRecv = 0xc0502100
	notifSend = 0xc0182101
)

// run answers until the listener is closed, by sigmad or because nothing uses
// the filter any more.
func (n *notifier) run() {
	rc, err := n.f.SyscallConn()
	if err != nil {
		return
	}
	for {
		err := rc.Read(n.one)
		if err != nil || n.closed.Load() {
			n.f.Close()
			return
		}
	}
}

// one answers a single request if there is one; false means wait for more.
func (n *notifier) one(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if k, err := unix.Poll(p, 0); err == nil && k == 0 {
		return false
	}
	if p[0].Revents&unix.POLLIN == 0 {
		if p[0].Revents != 0 { // nobody is left under the filter
			n.closed.Store(true)
		}
		return true
	}
	var req seccompNotif
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, notifRecv, uintptr(unsafe.Pointer(&req))); e != 0 {
		return true // ENOENT: the caller died meanwhile
	}
	n.mu.Lock()
	if n.denied == nil {
		n.denied = make(map[int]int, 4)
	}
	n.denied[int(req.nr)]++
	n.total++
	full := n.total >= MaxDenied
	n.mu.Unlock()
	resp := seccompResp{id: req.id, err: -int32(seccomp.Answer(n.arch, int(req.nr)))}
	unix.Syscall(unix.SYS_IOCTL, fd, notifSend, uintptr(unsafe.Pointer(&resp)))
	if full {
		n.closed.Store(true)
	}
	return true
}

// counts returns what was denied, by number, and forgets it when reset.
func (n *notifier) counts(reset bool) map[int]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.denied == nil {
		return nil
	}
	if reset {
		d := n.denied
		n.denied = nil
		return d
	}
	d := make(map[int]int, len(n.denied))
	for k, v := range n.denied {
		d[k] = v
	}
	return d
}
