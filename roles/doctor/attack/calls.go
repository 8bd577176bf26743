package attack

import (
	"fmt"
	"maps"
	"runtime"
	"slices"

	"sigmaos/runtime/seccomp"
)

// System calls that a proc may not make.
var callRows = []row{
	{id: "N37", title: "at the first instruction every layer is on, nothing of others is there", check: firstInstruction},
	{id: "S1", title: "sockets of every family", check: plain("S1", 91, nil)},
	// 3: a reply that is an error, "unknown proc": the channel is as it was.
	{id: "S2", title: "connect away on a passed descriptor", check: plain("S2", 5, answers{"the channel": {3}})},
	{id: "S4", title: "bind, listen, accept on passed descriptors", check: plain("S4", 18, nil)},
	{id: "S6", title: "io_uring, aio", check: plain("S6", 8, nil)},
	{id: "S7", title: "bpf, perf events", check: plain("S7", 3, nil)},
	{id: "S8", title: "ptrace", check: plain("S8", 12, nil)},
	{id: "S9", title: "memory of other processes", check: plain("S9", 8, nil)},
	{id: "S10", title: "pidfds, signals to others", check: plain("S10", 9, nil)},
	{id: "S11", title: "keyrings", check: plain("S11", 6, nil)},
	{id: "S12", title: "userfaultfd", check: plain("S12", 3, answers{"open device": {enoent}})},
	{id: "S13", title: "namespaces, forks", check: plain("S13", 39, nil)},
	// The links in /proc/self/ns can be opened on any Linux: a task may always look
	// at itself. What comes of it must be nothing.
	{id: "S14", title: "setns, ioctls of namespaces", check: plain("S14", 40, answers{"open of pid 1": {enoent, eacces}})},
	{id: "S15", title: "mounts, pivot_root, chroot, swap, quota", check: plain("S15", 22, nil)},
	{id: "S16", title: "file handles", check: plain("S16", 3, nil)},
	{id: "S17", title: "personality", check: plain("S17", 4, nil)},
	{id: "S19", title: "x32 calls", check: x32, arch: "amd64"},
	{id: "S20", title: "i386 calls: int 0x80, sysenter", check: i386, arch: "amd64"},
	{id: "S22", title: "ioctls on every descriptor", check: plain("S22", 160, nil)},
	{id: "S23", title: "exec of anything, memfds, modules", check: plain("S23", 14, nil)},
	{id: "S25", title: "memory both writable and executable, address 0", check: plain("S25", 10, answers{"policy": {0}})},
	{id: "S27", title: "segments, I/O ports", check: plain("S27", 25, nil), arch: "amd64"},
	{id: "S28", title: "other identities, capabilities", check: identity},
	{id: "S30", title: "placement and locking of memory, priorities", check: plain("S30", 14, nil)},
	{id: "S31", title: "shared memory, queues", check: plain("S31", 7, answers{"open /dev": {enoent, erofs, eacces}})},
	{id: "S33", title: "looks at the page cache, splice", check: plain("S33", 16, nil)},
	{id: "S34", title: "clocks, timers of others", check: plain("S34", 9, nil)},
	{id: "S36", title: "filters and rules of its own", check: plain("S36", 10, nil)},
	{id: "S37", title: "every number: the documented list and nothing else", check: theList},
	{id: "S37 args", title: "conditions on arguments, both sides", check: conditions},
	{id: "S38", title: "numbers beyond all headers", check: plain("S38", 11, nil)},
	{id: "S40", title: "a handler for SIGSYS", check: handler, arch: "amd64"},
}

// x32 tries the calls that would matter and some of all others; a test has every
// number.
func x32(c *check) {
	numbers := []int{0, 1, 2, 41, 42, 56, 57, 59, 101, 165, 272, 308, 321, 322, 425, 435, 512, 520, 545}
	for nr := 3; nr < 1024; nr += 97 {
		numbers = append(numbers, nr)
	}
	for _, nr := range numbers {
		d := Describe("S19", fmt.Sprint(nr))
		d.Memory = 4 << 20
		c.dies(d, 31)
	}
}

// getpid, open, execve, socketcall, write, exit_group, and one that is only
// i386's. SIGSEGV and SIGILL are the processor's where it or the kernel has no
// such entry.
func i386(c *check) {
	for _, nr := range []string{"20", "5", "11", "102", "4", "252", "384"} {
		c.dies(Describe("S20", "int80", nr), 31, 11)
		c.dies(Describe("S20", "sysenter", nr), 31, 11, 4)
	}
}

func identity(c *check) {
	got := c.row("S28")
	c.refused(got[:len(got)-1], 14, nil)
	c.everyLayer(c.find(got, "status").Text)
}

// theList: what answers anything but EPERM and ENOSYS, on some arguments, is
// exactly what the table of the filter says.
func theList(c *check) {
	got := make(map[string]bool)
	for _, a := range c.row("S37") {
		if a.R != eperm && a.R != enosys {
			got[seccomp.Name(runtime.GOARCH, a.NR)] = true
		}
	}
	// Not tried, because they would end the probe; every proc uses them.
	for _, name := range []string{"exit", "exit_group", "rt_sigreturn"} {
		got[name] = true
	}
	want := make(map[string]bool)
	for _, call := range seccomp.Allowed(runtime.GOARCH) {
		want[call.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !got[name] {
			c.errorf("%s is on the list and never answers", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !want[name] {
			c.errorf("%s is not on the list and answers", name)
		}
	}
}

// conditions tries each call with conditions on both sides of them: allowed is
// what the table says, argument by argument.
func conditions(c *check) {
	byName := make(map[string]seccomp.Call)
	for _, call := range seccomp.Allowed(runtime.GOARCH) {
		byName[call.Name] = call
	}
	tried := make(map[string]map[bool]int)
	for _, call := range []string{"fcntl", "ioctl", "prctl", "madvise", "mmap", "setsockopt", "clone", "arch_prctl", "others"} {
		if call == "arch_prctl" && arch != "amd64" {
			continue
		}
		for _, a := range c.row("conditions", call) {
			name := seccomp.Name(runtime.GOARCH, a.NR)
			var args [6]uint64
			for i, v := range a.Args {
				args[i] = uint64(v)
			}
			entry, listed := byName[name]
			want := listed && entry.Allows(args)
			if got := a.R != eperm && a.R != enosys; got != want {
				c.errorf("%s%v: %d (%v); the table allows it: %v", name, a.Args, a.R, a.Errno(), want)
			}
			if tried[name] == nil {
				tried[name] = make(map[bool]int)
			}
			tried[name][want]++
		}
	}
	for _, call := range byName {
		if call.When != "" && (tried[call.Name][true] == 0 && call.Name != "clone" || tried[call.Name][false] == 0) {
			c.errorf("%s has conditions and was tried %d times within them, %d times outside", call.Name, tried[call.Name][true], tried[call.Name][false])
		}
	}
}

// handler: refused calls raise no signal, and forbidden conventions cannot be
// handled.
func handler(c *check) {
	id := c.spawn(c.s.c, Describe("S40"))
	st := c.await(c.s.c, id, c.s.opt.Longer)
	got := c.said(c.s.c, id)
	if st.Signal != 31 || len(got) != 4 {
		c.fatalf("%v after %v, want SIGSYS after four lines", st, got)
	}
	c.refused(got, 4, answers{"handler": {0}})
}
