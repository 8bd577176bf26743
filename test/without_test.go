package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// without runs a command on a machine that lacks something: the test binary
// starts itself, takes it away and becomes the command.
const withoutVar = "SIGMA_TEST_WITHOUT"

func becomeWithout(what string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "without:", what, err)
		os.Exit(99)
	}
	var err error
	switch what {
	case "fuse": // a /dev of its own, with little in it
		err = syscall.Mount("none", "/dev", "tmpfs", 0, "")
		for name, minor := range map[string]uint32{"null": 3, "zero": 5, "urandom": 9} {
			if err == nil {
				err = unix.Mknod("/dev/"+name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor)))
			}
		}
	case "cgroups":
		for i := 0; i < 3; i++ { // what is below others goes in the next round
			for _, h := range hierarchies() {
				syscall.Unmount(h, syscall.MNT_DETACH)
			}
		}
	case "read-only cgroups":
		for _, h := range hierarchies() {
			if err == nil {
				err = syscall.Mount("", h, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
			}
		}
	case "landlock":
		err = refuse(unix.SYS_LANDLOCK_CREATE_RULESET)
	case "user notification":
		err = refuse(unix.SYS_SECCOMP)
	case "root":
		err = syscall.Setgid(65534)
		if err == nil {
			err = syscall.Setuid(65534)
		}
	}
	if err != nil {
		fail(err)
	}
	fail(syscall.Exec(os.Args[1], os.Args[1:], append(os.Environ(), withoutVar+"=")))
}

// refuse has the kernel answer one call with ENOSYS from now on, as one without
// it does.
func refuse(nr int) error {
	runtime.LockOSThread()
	f := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},
	}
	p := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&p)), 0, 0)
}

// runWithout runs a command of the build and returns what it said.
func runWithout(t *testing.T, what string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	exe, err := filepath.Abs(args[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{exe}, args[1:]...)...)
	cmd.Env = append(os.Environ(), withoutVar+"="+what)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	cmd.Run()
	return b.String(), cmd.ProcessState.ExitCode()
}

// Whatever the machine lacks, sigmad says at its start which and what to do, and
// leaves nothing; doctor says the same before.
func TestMissingPartsOfTheMachineAreNamed(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		what   string
		start  []string // in the error of sigmad
		doctor []string // in doctor's line
	}{
		{"fuse", []string{"/dev/fuse", "modprobe fuse", "--device"}, []string{"FAIL  fuse", "modprobe fuse"}},
		{"cgroups", []string{"cgroup", "mount"}, []string{"FAIL  cgroup", "mount"}},
		{"read-only cgroups", []string{"read-only", "remount", "--privileged"}, []string{"FAIL  cgroup", "read-only"}},
		{"landlock", []string{"Landlock", "AppArmor", "--insecure"}, []string{"FAIL  landlock", "lsm="}},
		{"user notification", []string{"system-call filter"}, []string{"FAIL  seccomp", "CONFIG_SECCOMP"}},
		{"root", []string{"root"}, []string{"FAIL  root", "sudo"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if tt.what == "landlock" {
				if b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil && b[0] == 'Y' {
					t.Skip("AppArmor does instead")
				}
			}
			dir, err := os.MkdirTemp("", "sigma-test")
			if err != nil {
				t.Fatal(err)
			}
			if tt.what == "root" {
				os.Chmod(dir, 0o777)
			}
			n := tidy(t, newNode(t, dir))
			args := append([]string{n.bin}, n.args...)
			if tt.what == "user notification" { // is missed when the first slot is made
				args = append(args, "--", filepath.Join(bin, "sigmactl"), "run", Proc(t, "hello"))
			}
			out, code := runWithout(t, tt.what, args...)
			if code != 1 {
				t.Errorf("sigmad without %s: status %d, want 1", tt.what, code)
			}
			for _, want := range tt.start {
				if !strings.Contains(out, want) {
					t.Errorf("sigmad without %s does not say %q:\n%s", tt.what, want, out)
				}
			}
			out, code = runWithout(t, tt.what, filepath.Join(bin, "sigmactl"), "doctor")
			if code != 1 {
				t.Errorf("doctor without %s: status %d, want 1\n%s", tt.what, code, out)
			}
			for _, want := range tt.doctor {
				if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
					t.Errorf("doctor without %s does not say %q:\n%s", tt.what, want, out)
				}
			}
		})
	}
}

// With --insecure a node without Landlock runs procs, and says so.
func TestInsecureIsSaidWhereItIsUsed(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "sigma-test")
	if err != nil {
		t.Fatal(err)
	}
	n := tidy(t, newNode(t, dir, "--insecure"))
	out, code := runWithout(t, "landlock", append(append([]string{n.bin}, n.args...), "--", filepath.Join(bin, "sigmactl"), "info")...)
	if code != 0 || strings.Contains(out, "landlock-") || !strings.Contains(out, "insecure") {
		t.Errorf("status %d\n%s", code, out)
	}
}

// kill -9 of an instance in the usual places: doctor names what is left, and
// cleans it; nothing of another instance is touched.
func TestDoctorCleansWhatAKilledInstanceLeft(t *testing.T) {
	n := StartNode(t) // must be left alone
	name := fmt.Sprintf("left%d", os.Getpid())
	k := newNode(t, n.Dir)
	k.Name = name
	k.args = []string{"dev", "--name", name, "--cgroup-root", "sigma-" + name}
	t.Cleanup(func() { os.RemoveAll("/var/lib/sigma/" + name); os.Remove("/var/lib/sigma") })
	k.spawn()
	sock := "/run/sigma/" + name + "/sock"
	eventually(t, 20*time.Second, "it answers", func() (bool, string) {
		out, e, code := k.Shell("/usr/bin/env", "SIGMA_CONTEXT="+sock, filepath.Join(bin, "sigmactl"), "run", Proc(t, "hello"))
		return code == 0, out + e + k.err.String()
	})
	// Latency-critical slots have a place of their own in the cpu controller's hierarchy.
	if out, e, code := k.Shell("/usr/bin/env", "SIGMA_CONTEXT="+sock, filepath.Join(bin, "sigmactl"), "run", "--class", "LC", "--mcpu", "100", Proc(t, "hello")); code != 0 {
		t.Fatalf("a latency-critical proc: %d\n%s%s", code, out, e)
	}
	k.Kill()
	eventually(t, patience, "doctor sees what is left", func() (bool, string) { // its processes are on their way out
		out, _, _ := n.Ctl("doctor")
		return strings.Contains(out, "/run/sigma/"+name+" belongs to no running sigmad") && strings.Contains(out, "cgroups of "+name+" below sigma-"+name) && strings.Contains(out, "--clean"), out
	})
	if out, _, _ := n.Ctl("doctor", "--cgroup-root", "sigma-"+n.Name); strings.Contains(out, "cgroups of "+name) {
		t.Errorf("asked for another root, doctor names cgroups of this one:\n%s", out)
	}
	out, e, code := n.Ctl("doctor", "--clean", "--cgroup-root", "sigma-"+name) // other tests have dead nodes of their own
	if code != 0 {
		t.Errorf("doctor --clean: %d\n%s%s", code, out, e)
	}
	if _, err := os.Stat("/run/sigma/" + name); err == nil {
		t.Errorf("/run/sigma/%s is still there", name)
	}
	for _, h := range hierarchies() {
		if left := findNamed(h, name); len(left) > 0 {
			t.Errorf("cgroups are left: %q", left)
		}
	}
	if out, _, _ := n.Ctl("doctor"); strings.Contains(out, name) {
		t.Errorf("doctor still names it:\n%s", out)
	}
	if out, e, code := n.Ctl("run", Proc(t, "hello")); code != 0 {
		t.Errorf("the other instance: %s%s", out, e)
	}
}
