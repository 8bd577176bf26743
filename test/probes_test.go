package test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigmaos/api"
	"sigmaos/runtime/seccomp"
)

// probe runs the hostile proc and returns its lines as pairs.
func probe(t *testing.T, n *Node, args ...string) (out [][2]int64, code int) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the probe is for amd64")
	}
	text, e, code := n.Ctl(append([]string{"run", "--threads", "20", Proc(t, "probe")}, args...)...)
	if code != 0 {
		t.Logf("probe %v: %s", args, e)
	}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var p [2]int64
		if k, _ := fmt.Sscan(line, &p[0], &p[1]); k == 2 {
			out = append(out, p)
		}
	}
	return out, code
}

// What answers anything but EPERM and ENOSYS is exactly the documented list.
func TestPROBES_S37_SweepFindsTheListAndNothingElse(t *testing.T) {
	n := StartNode(t)
	lines, code := probe(t, n, "sweep")
	if code != 0 {
		t.Fatalf("the sweep ended with %d", code)
	}
	got := make(map[string]bool)
	for _, l := range lines {
		got[seccomp.Name("amd64", int(l[0]))] = true
	}
	// Not tried, because they would end the probe: shown by every proc.
	for _, name := range []string{"exit", "exit_group", "rt_sigreturn", "clone"} {
		got[name] = true
	}
	for _, c := range seccomp.Allowed("amd64") {
		if !got[c.Name] {
			t.Errorf("%s is on the list and refused", c.Name)
		}
		delete(got, c.Name)
	}
	for name := range got {
		t.Errorf("%s is not on the list and answers", name)
	}
}

// S8, S13, S14, S22, S23, S25, S27, N39: calls on the list with arguments that
// are not.
func TestPROBES_S13_S22_S23_S25_N39_ArgumentsAreRefused(t *testing.T) {
	n := StartNode(t)
	lines, code := probe(t, n, "args")
	if code != 0 || len(lines) < 20 {
		t.Fatalf("status %d, %d answers: a fork may have passed", code, len(lines))
	}
	for i, l := range lines {
		if l[1] != -1 && l[1] != -38 {
			t.Errorf("attempt %d, %s: %d, want EPERM or ENOSYS", i, seccomp.Name("amd64", int(l[0])), l[1])
		}
	}
	w, _, _ := n.Ctl("why", "probe")
	if !strings.Contains(w, "denied   clone") || !strings.Contains(w, "denied   execve") || !strings.Contains(w, "Spawn another proc") {
		t.Errorf("why does not name the calls:\n%s", w)
	}
}

func TestPROBES_S19_S20_ForeignConventionsDie(t *testing.T) {
	n := StartNode(t)
	for _, verb := range []string{"x32", "i386"} {
		out, code := probe(t, n, verb)
		if code <= 128 || len(out) != 0 { // SIGSYS; SIGSEGV where the machine has no int 0x80
			t.Errorf("%s: status %d, answers %v; want death by a signal", verb, code, out)
		}
	}
}

func TestRule6_ExactlyFourDescriptors(t *testing.T) {
	n := StartNode(t)
	for range 2 { // a used slot is as clean as a new one
		out, _ := probe(t, n, "fds")
		var fds []int64
		for _, l := range out {
			fds = append(fds, l[0])
		}
		if !slices.Equal(fds, []int64{0, 1, 2, 3}) {
			t.Errorf("open descriptors %v", fds)
		}
	}
}

func TestPROBES_R1_ThreadBombMeetsItsLimit(t *testing.T) {
	n := StartNode(t)
	out, _ := probe(t, n, "threads")
	if len(out) != 2 || out[0][1] != 19 || out[1][1] != -11 {
		t.Errorf("with a limit of 20 threads: %v, want 19 more and EAGAIN", out)
	}
}

func TestPROBES_P1_P2_P6_N37_WhatAProcSees(t *testing.T) {
	n := StartNode(t)
	out, e, code := n.Ctl("run", "--env", "A=b", Proc(t, "testproc"), "look")
	if code != 0 {
		t.Fatal(e)
	}
	for _, want := range []string{
		"dir / dev etc mnt proc <nil>\n", "dir /dev null urandom zero <nil>\n", "dir /mnt binfs <nil>\n",
		"Seccomp:\t2\n", "NoNewPrivs:\t1\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "CapPrm:\t0000000000000000\n",
		"env [A=b]\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("does not see %q in:\n%s", want, out)
		}
	}
	for _, bad := range []string{n.Dir, n.Name, "sigma-t", "Uid:\t0", "write <nil>", "kcore", "kallsyms", "Groups:\t0"} {
		if strings.Contains(out, bad) {
			t.Errorf("sees %q in:\n%s", bad, out)
		}
	}
}

// A frame cannot say who sends it, nor smuggle a NUL into an environment.
func TestPROBES_N29_ForgedSpawnIsRefused(t *testing.T) {
	n := StartNode(t)
	prog := n.Upload("testproc")
	out, _, _ := n.Ctl("run", prog, "forge", prog)
	if !strings.Contains(out, "NUL") {
		t.Errorf("a NUL in env: %q", out)
	}
	c := n.Client("default")
	st := n.Run(c, &api.ProcDesc{Program: prog, Env: []string{"LD_PRELOAD=/x", "GODEBUG=gctrace=0"}})
	if !st.OK() {
		t.Errorf("env for a static program harms it: %v", st)
	}
}

func TestPROBES_R9_LogFloodIsBounded(t *testing.T) {
	n := StartNode(t, "--log-bytes", "4MiB", "--log-rate", "64MiB")
	id, _, _ := n.Ctl("spawn", Proc(t, "testproc"), "print", "100000", "99")
	id = strings.TrimSpace(id)
	if _, _, code := n.Ctl("wait", id); code != 0 {
		t.Fatalf("the flooder ended with %d", code)
	}
	out, e, _ := n.Ctl("logs", id)
	if len(out) > 5<<20 || !strings.Contains(e, "dropped") {
		t.Errorf("of 10 MB, %d bytes are kept, and the reader is told %q", len(out), e)
	}
}
