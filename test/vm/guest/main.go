// Guest is what the virtual machine of test/vm runs: it starts a node on a kernel
// that has cgroup v2 alone and AppArmor, tries what depends on that kernel, and
// prints a line per check.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"sigmaos/sigma/admin"
)

// guest is the machine under test.
type guest struct {
	only      *regexp.Regexp // checks to make; nil is all
	good, bad int
	admin     *admin.Client
	sigmad    *exec.Cmd
	log       bytes.Buffer
}

func (g *guest) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Println("vm: " + strings.TrimRight(line, "\n"))
	}
}

// check runs one check; it takes an error or a word about what was seen.
func (g *guest) check(name string, fn func() (string, error)) {
	if g.only != nil && !g.only.MatchString(name) {
		return
	}
	begin := time.Now()
	seen, err := fn()
	took := time.Since(begin).Round(100 * time.Millisecond)
	if err != nil {
		g.bad++
		g.say("FAIL  %-28s %v (%v)", name, err, took)
		return
	}
	g.good++
	g.say("ok    %-28s %s (%v)", name, seen, took)
}

const (
	name   = "vm"
	socket = "/run/sigma/vm/sock"
)

// run runs a command and returns what it printed.
func run(within time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+socket)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, tail(string(out)))
	}
	return string(out), nil
}

func ctl(args ...string) (string, error) { return run(2*time.Minute, "sigmactl", args...) }

// tail is the last lines of an output, on one.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], " | ")
}

func main() {
	g := &guest{}
	os.Setenv("PATH", "/bin:/sbin")
	os.Setenv("HOME", "/root")
	for _, word := range strings.Fields(read("/proc/cmdline")) {
		if re, ok := strings.CutPrefix(word, "vm.only="); ok && re != "" {
			g.only = regexp.MustCompile(re)
		}
	}
	g.check("kernel", kernel)
	g.check("cgroup v2 alone", unified)
	g.check("apparmor", appArmor)
	g.check("doctor", doctor)
	g.check("tests of runtime/lsm", func() (string, error) { return tests("runtime-lsm", ".") })
	g.check("tests of runtime/cgroup", func() (string, error) { return tests("runtime-cgroup", ".") })
	g.check("tests of runtime/seccomp", func() (string, error) { return tests("runtime-seccomp", "PROBES_S[12]") })
	g.check("tests of net/qos", func() (string, error) { return tests("net-qos", ".") })
	g.check("net/qos with prio alone", func() (string, error) {
		if _, err := run(time.Minute, "rmmod", "sch_htb"); err != nil {
			return "", err
		}
		return tests("net-qos", "Discipline")
	})
	g.check("sigmad starts", g.start)
	if g.admin != nil {
		g.check("layers of the node", g.layers)
		g.check("run", hello)
		g.check("spawn, wait, status", spawnWait)
		g.check("profile of a proc", g.profile)
		g.check("groups of LC and BE", g.groups)
		g.check("LC beside BE burners", g.shares)
		g.check("out of memory, alone", outOfMemory)
		g.check("LC memory beside BE", g.evicts)
		g.check("mount -t 9p", g.mount9P)
		g.check("hostile procs", g.attack)
		g.check("sigmad stops, leaves nothing", g.stop)
	}
	if g.bad > 0 {
		g.say("sigmad said:\n%s", g.log.String())
		g.say("%d checks failed, %d are right", g.bad, g.good)
		return
	}
	g.say("all %d checks are right", g.good)
}
