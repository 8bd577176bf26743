package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// run is a BPF machine for seccomp_data: the naive other side of the tests.
func run(t *testing.T, f []unix.SockFilter, nr, arch uint32, args [6]uint64) uint32 {
	t.Helper()
	word := func(off uint32) uint32 {
		switch {
		case off == 0:
			return nr
		case off == 4:
			return arch
		case off >= 16:
			return uint32(args[(off-16)/8] >> (8 * (off % 8)))
		}
		t.Fatalf("load at %d", off)
		return 0
	}
	var a uint32
	for pc := 0; pc < len(f); pc++ {
		i := f[pc]
		taken := false
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = word(i.K)
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			taken = a == i.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			taken = a >= i.K
		default:
			t.Fatalf("instruction %d: code %#x", pc, i.Code)
		}
		if taken {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	t.Fatal("ran off the end")
	return 0
}

// naive says from the table what a proc may call.
func naive(arch string, nr int, args [6]uint64) bool {
	for _, c := range Allowed(arch) {
		if archs[arch].numbers[c.Name] != nr {
			continue
		}
		return c.Allows(args)
	}
	return false
}

const (
	testFD  = 4096
	testKey = 0x0123456789abcdef
)

// PID 1's calls pass with the whole key and with nothing less.
func TestPROBES_S13_InitCallsNeedTheKey(t *testing.T) {
	for arch, a := range archs {
		f, err := Filter(arch, testFD, testKey)
		if err != nil {
			t.Fatal(err)
		}
		for name, args := range map[string][6]uint64{
			"clone": {cloneInit}, "wait4": {}, "kill": {}, "execveat": {testFD, 0, 0, 0, 0x1000},
		} {
			for key, want := range map[uint64]bool{testKey: true, 0: false, testKey & all32: false, testKey &^ all32: false, testKey + 1: false, ^uint64(testKey): false} {
				args[5] = key
				if got := run(t, f, uint32(a.numbers[name]), a.audit, args) == retAllow; got != want {
					t.Errorf("%s %s with key %#x: allowed %v", arch, name, key, got)
				}
			}
		}
		args := [6]uint64{testFD + 1, 0, 0, 0, 0x1000, testKey}
		if run(t, f, uint32(a.numbers["execveat"]), a.audit, args) == retAllow {
			t.Errorf("%s: execveat of another descriptor passes", arch)
		}
	}
}

func patterns() (out [][6]uint64) {
	for _, v := range []uint64{0, 1, 2, 3, 4, 6, 7, 0x1000, 0x3d0f00, 0x50f00, 0xd0f00, cloneInit, 17, all64, 1 << 32, 0x5421} {
		for _, w := range []uint64{0, 1, 9, 12, 36, all64} {
			out = append(out, [6]uint64{v, v, w, v, w, v}, [6]uint64{v, w, w, w, v, w})
		}
	}
	return append(out, [6]uint64{testFD, 0, 0, 0, 0x1000, 0}, [6]uint64{1, 6, 1}, [6]uint64{3, 1, 12})
}

func TestFiltersAgreeWithTable(t *testing.T) {
	for arch, a := range archs {
		f, err := Filter(arch, testFD, testKey)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d instructions", arch, len(f))
		for nr := 0; nr < 1024; nr++ {
			for _, args := range patterns() {
				if got, want := run(t, f, uint32(nr), a.audit, args) == retAllow, naive(arch, nr, args); got != want {
					t.Fatalf("%s %s(%#x): allowed %v, table says %v", arch, Name(arch, nr), args, got, want)
				}
			}
		}
	}
}

func TestPROBES_S20_ForeignArchitectureDies(t *testing.T) {
	for arch, a := range archs {
		out, _ := Filter(arch, testFD, testKey)
		if got := run(t, out, 1, a.audit^1, [6]uint64{}); got != retKill {
			t.Errorf("%s: a foreign architecture gets %#x", arch, got)
		}
	}
}

func TestPROBES_S19_X32Dies(t *testing.T) {
	out, _ := Filter("amd64", testFD, testKey)
	if got := run(t, out, x32Bit|1, archs["amd64"].audit, [6]uint64{}); got != retKill {
		t.Errorf("x32 write gets %#x", got)
	}
}

// The paper, 4.1: 67 system calls.
func TestPaper41_AtMost67CallsWithReasons(t *testing.T) {
	for arch := range archs {
		seen := make(map[string]bool)
		for _, c := range Allowed(arch) {
			if c.Reason == "" {
				t.Errorf("%s has no reason", c.Name)
			}
			if (c.conds == nil) != (c.When == "") {
				t.Errorf("%s: condition and its text disagree", c.Name)
			}
			if seen[c.Name] {
				t.Errorf("%s stands twice", c.Name)
			}
			seen[c.Name] = true
		}
		t.Logf("%s: %d calls", arch, len(seen))
		if len(seen) > 67 {
			t.Errorf("%s: %d calls", arch, len(seen))
		}
	}
}

func TestPROBES_S1_S4_NoCallThatMakesOrNamesSockets(t *testing.T) {
	for arch := range archs {
		for _, c := range Allowed(arch) {
			switch c.Name {
			case "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendmsg", "sendmmsg", "execve", "fork", "vfork", "ptrace", "io_uring_setup", "bpf", "memfd_create":
				t.Errorf("%s allows %s", arch, c.Name)
			}
		}
	}
}
