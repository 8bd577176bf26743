package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func read(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

func kernel() (string, error) {
	v := read("/proc/sys/kernel/osrelease")
	if v == "" {
		return "", errors.New("no osrelease")
	}
	return v + ", lsm " + read("/sys/kernel/security/lsm"), nil
}

// unified: every controller that procs need is on the one tree.
func unified() (string, error) {
	if strings.Contains(read("/proc/mounts"), " cgroup ") {
		return "", errors.New("there is a v1 hierarchy")
	}
	have := " " + read("/sys/fs/cgroup/cgroup.controllers") + " "
	for _, c := range []string{"cpu", "memory", "pids"} {
		if !strings.Contains(have, " "+c+" ") {
			return "", fmt.Errorf("no controller %s among%s", c, have)
		}
	}
	return strings.TrimSpace(have), nil
}

func appArmor() (string, error) {
	if read("/sys/module/apparmor/parameters/enabled") != "Y" || read("/sys/module/apparmor/parameters/mode") != "enforce" {
		return "", fmt.Errorf("enabled %q, mode %q", read("/sys/module/apparmor/parameters/enabled"), read("/sys/module/apparmor/parameters/mode"))
	}
	return "enforcing", nil
}

func doctor() (string, error) {
	out, err := ctl("doctor")
	if err != nil {
		return "", err
	}
	if strings.Contains(out, "WARN  landlock") {
		return "no FAIL; AppArmor alone", nil
	}
	return "no FAIL", nil
}

// tests runs a package's own tests on this kernel. One that hangs is shown with
// where in the kernel its threads are.
func tests(name, only string) (string, error) {
	stuck := ""
	alarm := time.AfterFunc(100*time.Second, func() { stuck = stacks("/tests/" + name) })
	out, err := run(3*time.Minute, "/tests/"+name, "-test.v", "-test.timeout=2m", "-test.run", only)
	alarm.Stop()
	pass, fail := strings.Count(out, "--- PASS"), strings.Count(out, "--- FAIL")
	if err != nil || fail > 0 {
		return "", fmt.Errorf("%d pass, %d fail: %s%s", pass, fail, failures(out), stuck)
	}
	return fmt.Sprintf("%d pass, %d skipped", pass, strings.Count(out, "--- SKIP")), nil
}

// stacks are those of every thread that runs a program.
func stacks(program string) string {
	var b strings.Builder
	all, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	for _, task := range all {
		if exe, _ := os.Readlink(task + "/exe"); exe == program {
			fmt.Fprintf(&b, "\n      %s %s %.400q", task, read(task+"/syscall"), read(task+"/stack"))
		}
	}
	return b.String()
}

// failures are the lines of a test's output that say what is wrong.
func failures(out string) string {
	var keep []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "--- FAIL") || strings.Contains(line, "_test.go:") || strings.HasPrefix(line, "panic") {
			keep = append(keep, strings.TrimSpace(line))
		}
	}
	return strings.Join(keep[max(0, len(keep)-12):], "\n      ")
}
