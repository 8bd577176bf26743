package test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigmaos/api"
	"sigmaos/runtime/seccomp"
)

func TestPROBES_S1_NoSockets(t *testing.T) {
	refused(t, onHostile(t).row("S1"), 91, nil)
}

func TestPROBES_S2_NoConnect(t *testing.T) {
	// 3: a reply that is an error, "unknown proc": the channel is as it was.
	refused(t, onHostile(t).row("S2"), 5, map[string][]int64{"the channel": {3}})
}

func TestPROBES_S4_NoBindListenAccept(t *testing.T) { refused(t, onHostile(t).row("S4"), 18, nil) }

func TestPROBES_S6_NoIOUring(t *testing.T) { refused(t, onHostile(t).row("S6"), 8, nil) }

func TestPROBES_S7_NoBPFNoPerf(t *testing.T) { refused(t, onHostile(t).row("S7"), 3, nil) }

func TestPROBES_S8_NoPtrace(t *testing.T) { refused(t, onHostile(t).row("S8"), 12, nil) }

func TestPROBES_S9_NoMemoryOfOthers(t *testing.T) { refused(t, onHostile(t).row("S9"), 8, nil) }

func TestPROBES_S10_NoPidfdsNoSignals(t *testing.T) { refused(t, onHostile(t).row("S10"), 9, nil) }

func TestPROBES_S11_NoKeyrings(t *testing.T) { refused(t, onHostile(t).row("S11"), 6, nil) }

func TestPROBES_S12_NoUserfaultfd(t *testing.T) {
	refused(t, onHostile(t).row("S12"), 3, map[string][]int64{"open device": {enoent}})
}

func TestPROBES_S13_NoNamespacesNoForks(t *testing.T) {
	refused(t, onHostile(t).row("S13"), 39, nil)
}

// The links in /proc/self/ns can be opened on any Linux: a task may always look
// at itself, and Landlock cannot tell. What comes of it must be nothing.
func TestPROBES_S14_NoSetns(t *testing.T) {
	refused(t, onHostile(t).row("S14"), 40, map[string][]int64{"open of pid 1": {enoent}})
}

func TestPROBES_S15_NoMounts(t *testing.T) { refused(t, onHostile(t).row("S15"), 22, nil) }

func TestPROBES_S16_NoFileHandles(t *testing.T) { refused(t, onHostile(t).row("S16"), 3, nil) }

func TestPROBES_S17_NoPersonality(t *testing.T) { refused(t, onHostile(t).row("S17"), 4, nil) }

// dies runs a probe that must end by one of the signals without a word.
func dies(t *testing.T, h *hostile, d *api.ProcDesc, signals ...int) {
	t.Helper()
	id := h.spawn(h.c, d)
	st := h.Await(h.c, id)
	if got := h.lines(h.c, id); st.State != api.Signal || !slices.Contains(signals, st.Signal) || len(got) != 0 {
		t.Errorf("%v: %v and lines %v, want death by signal %v and none", d.Args, st, got, signals)
	}
}

// All of x32, a proc for each number.
func TestPROBES_S19_S37_EveryX32CallEndsTheProc(t *testing.T) {
	amd64Only(t)
	h := onHostile(t)
	var wg sync.WaitGroup
	bad := make(chan string, 1024)
	gate := make(chan struct{}, 32)
	for nr := range 1024 {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			d := probe("S19", fmt.Sprint(nr))
			d.Memory = 4 << 20
			id, err := h.c.Spawn(context.Background(), d)
			if err != nil {
				bad <- err.Error()
				return
			}
			st, err := h.c.WaitExit(context.Background(), id)
			out := 0
			h.c.Logs(context.Background(), api.LogQuery{Name: string(id)}, func(api.LogRecord, []byte) error { out++; return nil })
			if err != nil || st.Signal != 31 || out != 0 {
				bad <- fmt.Sprintf("x32 call %d: %v, %v, %d pieces of output", nr, st, err, out)
			}
		})
	}
	wg.Wait()
	close(bad)
	for b := range bad {
		t.Error(b)
	}
	w, err := h.c.Why(context.Background(), string(h.spawnAndWait(probe("S19", "1"))))
	if err != nil || !strings.Contains(strings.Join(w.Advice, " "), "x32") {
		t.Errorf("why does not explain a SIGSYS: %v %v", w.Advice, err)
	}
}

func (h *hostile) spawnAndWait(d *api.ProcDesc) api.ProcID {
	h.t.Helper()
	id := h.spawn(h.c, d)
	h.Await(h.c, id)
	return id
}

func TestPROBES_S20_I386CallsEndTheProc(t *testing.T) {
	amd64Only(t)
	h := onHostile(t)
	// getpid, open, execve, socketcall, write, exit_group. SIGSEGV and SIGILL are
	// the processor's where it or the kernel has no such entry.
	for _, nr := range []string{"20", "5", "11", "102", "4", "252", "384"} {
		dies(t, h, probe("S20", "int80", nr), 31, 11)
		dies(t, h, probe("S20", "sysenter", nr), 31, 11, 4)
	}
}

func TestPROBES_S22_IoctlsAreRefused(t *testing.T) { refused(t, onHostile(t).row("S22"), 160, nil) }

func TestPROBES_S23_NothingCanBeExeced(t *testing.T) { refused(t, onHostile(t).row("S23"), 14, nil) }

func TestPROBES_S25_NoWritableAndExecutableMemory(t *testing.T) {
	refused(t, onHostile(t).row("S25"), 10, map[string][]int64{"policy": {0}})
	b, err := os.ReadFile("/proc/sys/vm/mmap_min_addr")
	if err != nil || strings.TrimSpace(string(b)) == "0" {
		t.Logf("this machine has mmap_min_addr %s: set vm.mmap_min_addr=65536", b)
	}
}

func TestPROBES_S27_NoSegmentsNoPorts(t *testing.T) {
	amd64Only(t)
	refused(t, onHostile(t).row("S27"), 25, nil)
}

func TestPROBES_S28_NoOtherIdentity(t *testing.T) {
	got := onHostile(t).row("S28")
	refused(t, got[:len(got)-1], 14, nil)
	holdsEveryLayer(t, find(t, got, "status").Text)
}

func TestPROBES_S30_NoPlacementOfMemory(t *testing.T) {
	// setpriority and the like have the same answer; EPERM of an mlock would also
	// be the limit's.
	refused(t, onHostile(t).row("S30"), 14, nil)
}

func TestPROBES_S31_NoSharedMemory(t *testing.T) {
	refused(t, onHostile(t).row("S31"), 7, map[string][]int64{"open /dev": {enoent, erofs}})
}

func TestPROBES_S33_NoLooksAtThePageCache(t *testing.T) { refused(t, onHostile(t).row("S33"), 16, nil) }

func TestPROBES_S34_NoClocks(t *testing.T) { refused(t, onHostile(t).row("S34"), 9, nil) }

// Not only seccomp: every option of prctl that changes what a proc may do is
// among the conditions below.
func TestPROBES_S36_NoFiltersOfItsOwn(t *testing.T) { refused(t, onHostile(t).row("S36"), 10, nil) }

// What answers anything but EPERM and ENOSYS, on some arguments, is exactly the
// documented list.
func TestPROBES_S37_TheListAndNothingElse(t *testing.T) {
	got := make(map[string]bool)
	for _, a := range onHostile(t).row("S37") {
		if a.R != eperm && a.R != enosys {
			got[seccomp.Name(runtime.GOARCH, a.NR)] = true
		}
	}
	// Not tried, because they would end the probe; every proc uses them.
	for _, name := range []string{"exit", "exit_group", "rt_sigreturn"} {
		got[name] = true
	}
	want := make(map[string]bool)
	for _, c := range seccomp.Allowed(runtime.GOARCH) {
		want[c.Name] = true
	}
	if !maps.Equal(got, want) {
		for name := range want {
			if !got[name] {
				t.Errorf("%s is on the list and never answers", name)
			}
		}
		for name := range got {
			if !want[name] {
				t.Errorf("%s is not on the list and answers", name)
			}
		}
	}
	// And the page that people read lists the same.
	page, err := os.ReadFile(filepath.Join("..", "docs", "SYSCALLS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if !strings.Contains(string(page), "| "+name+" ") {
			t.Errorf("docs/SYSCALLS.md does not list %s", name)
		}
	}
}

// Each call with conditions, on both sides of them: allowed is what the table
// says, argument by argument.
func TestPROBES_S13_S22_S25_S36_N39_ConditionsOnArguments(t *testing.T) {
	h := onHostile(t)
	byName := make(map[string]seccomp.Call)
	for _, c := range seccomp.Allowed(runtime.GOARCH) {
		byName[c.Name] = c
	}
	tried := make(map[string]map[bool]int)
	for _, call := range []string{"fcntl", "ioctl", "prctl", "madvise", "mmap", "setsockopt", "clone", "arch_prctl", "others"} {
		if call == "arch_prctl" && runtime.GOARCH != "amd64" {
			continue
		}
		for _, a := range h.row("conditions", call) {
			name := seccomp.Name(runtime.GOARCH, a.NR)
			var args [6]uint64
			for i, v := range a.Args {
				args[i] = uint64(v)
			}
			c, listed := byName[name]
			want := listed && c.Allows(args)
			if got := a.R != eperm && a.R != enosys; got != want {
				t.Errorf("%s%v: %d (%v); the table allows it: %v", name, a.Args, a.R, errno(a.R), want)
			}
			if tried[name] == nil {
				tried[name] = make(map[bool]int)
			}
			tried[name][want]++
		}
	}
	for _, c := range byName {
		if c.When != "" && (tried[c.Name][true] == 0 && c.Name != "clone" || tried[c.Name][false] == 0) {
			t.Errorf("%s has conditions and was tried %d times within them, %d times outside", c.Name, tried[c.Name][true], tried[c.Name][false])
		}
	}
}

func TestPROBES_S38_NumbersBeyondTheHeaders(t *testing.T) {
	refused(t, onHostile(t).row("S38"), 11, nil)
}

// A handler for SIGSYS changes nothing: refused calls raise none, and forbidden
// conventions cannot be handled.
func TestPROBES_S40_HandlersDoNotHelp(t *testing.T) {
	amd64Only(t)
	h := onHostile(t)
	id := h.spawn(h.c, probe("S40"))
	st := h.Await(h.c, id)
	got := h.lines(h.c, id)
	if st.Signal != 31 || len(got) != 4 {
		t.Fatalf("%v after %v, want SIGSYS after four lines", st, got)
	}
	refused(t, got, 4, map[string][]int64{"handler": {0}})
}

// why names each refused call and says what to use instead.
func TestWhyNamesDeniedCalls(t *testing.T) {
	h := onHostile(t)
	id := h.spawnAndWait(probe("S13"))
	out, _, _ := h.Ctl("why", string(id))
	for _, want := range []string{"clone", "unshare", "Spawn another proc", "SYSCALLS.md"} {
		if !strings.Contains(out, want) {
			t.Errorf("why does not say %q:\n%s", want, out)
		}
	}
}
