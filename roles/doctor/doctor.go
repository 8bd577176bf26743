// Package doctor looks at a machine before sigmad does, a line per thing, with
// what to do where something is missing.
package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/lsm"
	"sigmaos/runtime/slot"
)

// Run checks everything; clean also removes cgroups and files of instances
// that were killed: those below one root of groups, or below every root where it
// is "".
func Run(_ context.Context, clean bool, root string) []api.Check {
	var out []api.Check
	for _, c := range []func() api.Check{user, kernel, fuse, cgroups, landlock, appArmor, notify, layers, ksm, files, pids} {
		out = append(out, c())
	}
	return append(out, leftovers(clean, root)...)
}

func ok(name, format string, args ...any) api.Check {
	return api.Check{Name: name, Level: "OK", Text: fmt.Sprintf(format, args...)}
}

func warn(name, fix, format string, args ...any) api.Check {
	return api.Check{Name: name, Level: "WARN", Text: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(name, fix, format string, args ...any) api.Check {
	return api.Check{Name: name, Level: "FAIL", Text: fmt.Sprintf(format, args...), Fix: fix}
}

func user() api.Check {
	if os.Geteuid() != 0 {
		return fail("root", "run as root (sudo)", "uid %d", os.Geteuid())
	}
	return ok("root", "uid 0")
}

func kernel() api.Check {
	var u unix.Utsname
	unix.Uname(&u)
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	fmt.Sscanf(release, "%d.%d", &major, &minor)
	if major < 5 || major == 5 && minor < 13 {
		return fail("kernel", "use Linux 5.13 or later", "%s", release)
	}
	return ok("kernel", "%s", release)
}

func fuse() api.Check {
	const fix = "modprobe fuse; a container needs --privileged or --device /dev/fuse"
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fail("fuse", fix, "%v", err)
	}
	b, _ := os.ReadFile("/proc/filesystems")
	if !strings.Contains(string(b), "\tfuse\n") {
		return fail("fuse", fix, "the kernel does not list it")
	}
	return ok("fuse", "/dev/fuse")
}

func cgroups() api.Check {
	l, err := cgroup.Detect()
	if err != nil {
		return fail("cgroup", "mount the controllers cpu, memory and pids", "%v", err)
	}
	dir := l.Dirs["cpu"] + l.Dirs[""]
	return ok("cgroup", "%v; groups go below %s/sigma", l.Version, strings.TrimSuffix(dir, "/"))
}

func landlock() api.Check {
	if abi := lsm.LandlockABI(); abi > 0 {
		return ok("landlock", "ABI %d", abi)
	}
	if lsm.AppArmorEnabled() {
		return warn("landlock", "add landlock to the lsm= boot parameter", "the kernel has none; AppArmor alone holds procs to their jail")
	}
	return fail("landlock", "boot with lsm=…,landlock or AppArmor, or start sigmad with --insecure", "neither Landlock nor AppArmor")
}

func appArmor() api.Check {
	if !lsm.AppArmorEnabled() {
		return ok("apparmor", "not in this kernel; Landlock does its part")
	}
	if _, err := exec.LookPath("apparmor_parser"); err != nil {
		return warn("apparmor", "apt-get install apparmor", "on, but there is no apparmor_parser to load the profile with")
	}
	return ok("apparmor", "enabled")
}

func notify() api.Check {
	var sizes [3]uint16
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, 3, 0, uintptr(ptr(&sizes))); e != 0 {
		return fail("seccomp", "use a kernel with CONFIG_SECCOMP_FILTER", "no user notification: %v", e)
	}
	return ok("seccomp", "filter and user notification")
}

// layers shouts at a build that nobody but one test has a use for.
func layers() api.Check {
	if slot.Unsafe {
		return fail("layers", "install a release: this one must never run procs of others", "THIS BUILD CAN LEAVE LAYERS OF ISOLATION OUT (-tags unsafelayers)")
	}
	return ok("layers", "none can be left out")
}

func ksm() api.Check {
	if b, err := os.ReadFile("/sys/kernel/mm/ksm/run"); err == nil && strings.TrimSpace(string(b)) == "1" {
		return warn("ksm", "echo 0 > /sys/kernel/mm/ksm/run", "pages of different tenants may be merged, which timing shows")
	}
	return ok("ksm", "off")
}

func files() api.Check {
	var l unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	if l.Max < 8192 {
		return warn("descriptors", "raise the hard limit (ulimit -Hn, LimitNOFILE=) to 20000", "hard limit %d; about 8 are used per σcontainer", l.Max)
	}
	return ok("descriptors", "hard limit %d", l.Max)
}

func pids() api.Check {
	if n := cgroup.PidMax(); n < 1<<16 {
		return warn("pids", "sysctl kernel.pid_max=4194304", "pid_max is %d; procs get half of that, threads and all", n)
	}
	return ok("pids", "pid_max %d", cgroup.PidMax())
}

// leftovers finds instances whose lock nobody holds.
func leftovers(clean bool, only string) []api.Check {
	dirs, _ := filepath.Glob("/run/sigma/*")
	var out []api.Check
	for _, d := range dirs {
		if locked(filepath.Join("/var/lib/sigma", filepath.Base(d), "lock")) {
			continue
		}
		if clean {
			for _, f := range []string{"sock", "etcd", "etcd-peer", "mnt/binfs", "mnt/jail", "mnt", ""} {
				os.Remove(filepath.Join(d, f))
			}
			out = append(out, ok("leftovers", "removed %s", d))
			continue
		}
		out = append(out, warn("leftovers", "sigmactl doctor --clean, or start that instance again", "%s belongs to no running sigmad", d))
	}
	l, err := cgroup.Detect()
	if err != nil {
		return out
	}
	for _, root := range roots(l, only) {
		list, err := cgroup.Remains(l, root)
		if err != nil {
			out = append(out, fail("leftovers", "see whether a sigmad is stuck there", "%v", err))
		}
		for _, r := range list {
			out = append(out, remain(r, clean))
		}
	}
	if len(out) == 0 {
		out = append(out, ok("leftovers", "none"))
	}
	return out
}

func remain(r cgroup.Remain, clean bool) api.Check {
	what, whose := "cgroups of "+r.Node+" below "+r.Root, "which does not run"
	if r.Node == "" {
		what, whose = "cgroups of "+r.Root, "in which no node is"
	}
	if !clean {
		return warn("leftovers", "sigmactl doctor --clean, or start that instance again", "%s, %s", what, whose)
	}
	if err := r.Clean(); err != nil {
		return fail("leftovers", "see which processes are in it", "%v", err)
	}
	return ok("leftovers", "removed the %s", what)
}

// roots are those to look at: one, or all that are there, for an instance may
// have had a root of its own.
func roots(l cgroup.Layout, only string) []string {
	if only != "" {
		return []string{only}
	}
	list, _ := cgroup.Roots(l)
	return list
}

func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK
}
