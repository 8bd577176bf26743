package seccomp

import "slices"

// Call is one system call that a proc may make.
type Call struct {
	Name   string
	Reason string
	When   string // condition on the arguments, for people; "" is always
	conds  []cond // alternatives
}

// Allows reports whether the call may be made with these arguments.
func (c Call) Allows(args [6]uint64) bool {
	return c.conds == nil || slices.ContainsFunc(c.conds, func(alt cond) bool { return alt.holds(args) })
}

// cond is one set of arguments under which a call is allowed.
type cond []arg

func (c cond) holds(args [6]uint64) bool {
	for _, a := range c {
		if args[a.index]&a.mask != a.value {
			return false
		}
	}
	return true
}

// arg compares one argument: arg&mask == value, 64 bits.
type arg struct {
	index       int
	mask, value uint64
}

const (
	all64 = ^uint64(0)
	all32 = uint64(0xffffffff)
)

func eq32(index int, v uint64) arg { return arg{index, all32, v} }

// oneOf allows a call when its argument is one of the values.
func oneOf(index int, values ...uint64) (c []cond) {
	for _, v := range values {
		c = append(c, cond{eq32(index, v)})
	}
	return c
}

// pairs allows a call when two arguments are one of the pairs.
func pairs(i, j int, a uint64, bs ...uint64) (c []cond) {
	for _, b := range bs {
		c = append(c, cond{eq32(i, a), eq32(j, b)})
	}
	return c
}

// Clone flags of threads: Go's, glibc's and musl's exact sets. Go runs without
// SETTLS in static programs on amd64 and with it on arm64.
const (
	cloneGo    = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000
	cloneGlibc = 0x3d0f00
	cloneMusl  = 0x7d0f00
	cloneTLS   = 0x80000
	// cloneInit is what PID 1 of a slot forks with: a set that no libc uses,
	// so that even with the key no ordinary fork would pass.
	cloneInit = 0x100 | 0x100000 | 0x800000 | 17
)

// common is the list for every architecture; at most 67 with the extras.
var common = []Call{
	{Name: "read", Reason: "the control channel, connections"},
	{Name: "write", Reason: "the control channel, connections, output"},
	{Name: "readv", Reason: "net.Buffers and libc's stdio read with it"},
	{Name: "writev", Reason: "net.Buffers and musl's stdio write with it"},
	{Name: "pread64", Reason: "programs that read their own binary"},
	{Name: "close", Reason: "own descriptors"},
	{Name: "lseek", Reason: "read-only files of the jail"},
	{Name: "fstat", Reason: "stdio looks at its descriptors"},
	{Name: "newfstatat", Reason: "read-only files of the jail"},
	{Name: "openat", Reason: "read-only files of the jail"},
	{Name: "getdents64", Reason: "directories of the jail"},
	{Name: "readlinkat", Reason: "/proc/self/exe, /etc/localtime"},
	{Name: "faccessat", Reason: "read-only files of the jail"},
	{Name: "getcwd", Reason: "libc and interpreters ask for it; it is /"},
	{Name: "fcntl", Reason: "non-blocking descriptors", When: "F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC",
		conds: oneOf(1, 0, 1, 2, 3, 4, 1030)},
	{Name: "ioctl", Reason: "Rust sets sockets non-blocking with it, stdio asks for a terminal", When: "FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ",
		conds: oneOf(1, 0x5421, 0x541b, 0x5401, 0x5413)},
	{Name: "dup3", Reason: "programs that move their descriptors"},
	{Name: "pipe2", Reason: "wake-ups inside a program"},
	{Name: "eventfd2", Reason: "wake-ups of event loops"},
	{Name: "epoll_create1", Reason: "event loops"},
	{Name: "epoll_ctl", Reason: "event loops"},
	{Name: "epoll_pwait", Reason: "event loops"},
	{Name: "ppoll", Reason: "event loops without epoll"},
	{Name: "mmap", Reason: "memory", When: "not writable and executable at once", conds: notWX(2)},
	{Name: "mprotect", Reason: "guard pages, relocations, a JIT that toggles", When: "not writable and executable at once", conds: notWX(2)},
	{Name: "munmap", Reason: "memory"},
	{Name: "mremap", Reason: "realloc of large blocks"},
	{Name: "brk", Reason: "memory"},
	{Name: "madvise", Reason: "memory given back, huge pages", When: "NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, DONTFORK, HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP, COLLAPSE",
		conds: oneOf(2, 0, 1, 2, 3, 4, 8, 10, 14, 15, 16, 17, 25)},
	{Name: "clone", Reason: "threads", When: "exactly a thread's flags", conds: oneOf(0, cloneGo, cloneGo|cloneTLS, cloneGlibc, cloneMusl)},
	{Name: "exit", Reason: "a thread ends"},
	{Name: "exit_group", Reason: "the proc ends"},
	{Name: "futex", Reason: "locks"},
	{Name: "set_robust_list", Reason: "glibc, at start and in each thread"},
	{Name: "set_tid_address", Reason: "libc, at start"},
	{Name: "rseq", Reason: "glibc, at start and in each thread"},
	{Name: "membarrier", Reason: "run-times that stop their threads"},
	{Name: "sched_yield", Reason: "spinning locks"},
	{Name: "sched_getaffinity", Reason: "how many cores there are"},
	{Name: "gettid", Reason: "signals to own threads"},
	{Name: "getpid", Reason: "signals to own threads"},
	{Name: "tgkill", Reason: "preemption of goroutines; reaches nothing outside the proc's PID namespace"},
	{Name: "rt_sigaction", Reason: "signal handlers"},
	{Name: "rt_sigprocmask", Reason: "signal handlers"},
	{Name: "rt_sigreturn", Reason: "signal handlers"},
	{Name: "sigaltstack", Reason: "signal handlers"},
	{Name: "nanosleep", Reason: "sleeping"},
	{Name: "clock_nanosleep", Reason: "sleeping"},
	{Name: "clock_gettime", Reason: "time where the vDSO has none"},
	{Name: "clock_getres", Reason: "interpreters ask at start"},
	{Name: "setitimer", Reason: "Go's CPU profiler"},
	{Name: "getrusage", Reason: "a program's own usage"},
	{Name: "getrandom", Reason: "randomness"},
	{Name: "uname", Reason: "libc asks for the kernel's version"},
	{Name: "prlimit64", Reason: "own limits; hard limits cannot be raised", When: "of the caller, named 0: PID 1 has the same uid, and the next proc its limits",
		conds: oneOf(0, 0)},
	{Name: "prctl", Reason: "names of threads and mappings", When: "PR_SET_NAME, PR_GET_NAME, PR_SET_VMA",
		conds: oneOf(0, 15, 16, 0x53564d41)},
	{Name: "recvfrom", Reason: "connections"},
	{Name: "recvmsg", Reason: "descriptors that sigmad hands over"},
	{Name: "sendto", Reason: "connections", When: "no address", conds: []cond{{{4, all64, 0}}}},
	{Name: "shutdown", Reason: "half-closed connections"},
	{Name: "getsockopt", Reason: "connections"},
	{Name: "setsockopt", Reason: "connections", When: "SOL_SOCKET: KEEPALIVE, SNDBUF, RCVBUF, LINGER, RCVTIMEO, SNDTIMEO; TCP: NODELAY, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, QUICKACK, USER_TIMEOUT",
		conds: append(pairs(1, 2, 1, 9, 7, 8, 13, 20, 21), pairs(1, 2, 6, 1, 3, 4, 5, 6, 12, 18)...)},
}

// extra are calls of one architecture alone.
var extra = map[string][]Call{
	"amd64": {
		{Name: "arch_prctl", Reason: "thread-local storage", When: "ARCH_SET_FS, ARCH_GET_FS", conds: oneOf(0, 0x1002, 0x1003)},
		{Name: "poll", Reason: "event loops; Rust's start-up"},
		{Name: "epoll_wait", Reason: "event loops of C programs"},
		{Name: "readlink", Reason: "glibc's static start-up reads /proc/self/exe"},
	},
	"arm64": {},
}

// initOnly is what PID 1 of a slot needs beyond a proc; it passes with the key
// alone.
var initOnly = []Call{
	{Name: "clone", Reason: "PID 1 forks the next child", When: "exactly PID 1's odd flags", conds: oneOf(0, cloneInit)},
	{Name: "wait4", Reason: "PID 1 waits for the child", When: "always", conds: []cond{{}}},
	{Name: "kill", Reason: "PID 1 ends what is left", When: "always", conds: []cond{{}}},
	{Name: "execveat", Reason: "the start of a proc", When: "AT_EMPTY_PATH", conds: oneOf(4, 0x1000)},
}

// notWX allows every protection but write and execute together.
func notWX(index int) []cond {
	return []cond{{{index, 2, 0}}, {{index, 4, 0}}}
}

// soft are calls that run-times try before they fall back: the answer that
// makes them do so is ENOSYS.
var soft = map[string]bool{
	"clone3": true, "openat2": true, "statx": true, "sendfile": true, "copy_file_range": true, "faccessat2": true, "close_range": true,
	"epoll_pwait2": true, "io_uring_setup": true, "splice": true, "preadv2": true, "pwritev2": true, "futex_waitv": true, "pidfd_open": true,
	"mseal": true, "map_shadow_stack": true, "cachestat": true, "fchmodat2": true, "getcpu": true, "renameat2": true, "process_madvise": true,
}
