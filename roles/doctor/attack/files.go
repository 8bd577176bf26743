package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// What a proc sees of files and processes, and what it can change.
var fileRows = []row{
	{id: "flag", title: "a file of the host, by every way", check: theFlag},
	{id: "P1", title: "the jail has exactly what is documented", check: theJail},
	{id: "P2", title: "write, create, rename, link, chmod, xattr anywhere", check: noWrites},
	{id: "P3", title: "other processes in /proc", check: noProcesses},
	{id: "P5", title: "the kernel's files in /proc", check: plain("P5", 100, answers{"": {enoent}, "/proc/net": {enoent}, "/proc/self/net": {enoent, eacces}, "/proc/thread-self/net": {enoent, eacces}})},
	{id: "P6", title: "names of the host or of other realms", check: noNames},
	{id: "P7", title: "/sys, cgroups, debugfs, pressure", check: plain("P7", 22, answers{"": {enoent}})},
	{id: "P8", title: "devices, mknod", check: plain("P8", 33, answers{"/dev": {enoent}})},
	{id: "P10", title: "every way up ends in the jail", check: plain("P10", 16, answers{"": {0}, "pid 1": {enoent, eacces}})},
	{id: "P11", title: "classics of chroot", check: noChroot},
	{id: "P13", title: "names in the folder of programs", check: badNames},
	{id: "P19", title: "addresses differ from proc to proc", check: ownLayout},
	{id: "P21", title: "a realm's pages are its own", check: ownPages},
	{id: "P22", title: "merging of pages", check: plain("P22", 4, nil)},
	{id: "P23", title: "speculation", elsewhere: "TestPROBES_P23; docs/SECURITY.md lists it"},
}

func theFlag(c *check) {
	sigmad := "/proc/1/environ"
	c.refused(c.row("flag", c.s.flag, "/etc/shadow", sigmad, "/var/lib/sigma", "/run/sigma"), 100, answers{"": {enoent, eacces, erofs, eperm, enosys}})
}

func theJail(c *check) {
	want := []string{
		"/dev", "/dev/null", "/dev/urandom", "/dev/zero",
		"/etc", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/passwd", "/etc/ssl", "/etc/ssl/certs",
		"/mnt", "/mnt/binfs",
		"/proc", "/proc/PID", "/proc/self", "/proc/thread-self",
	}
	copied := []string{"/etc/localtime", "/etc/ssl/certs/ca-certificates.crt"} // of the host, where it has them
	number := regexp.MustCompile(`^/proc/\d+$`)
	var seen []string
	for _, a := range c.row("P1") {
		name := number.ReplaceAllString(a.Try, "/proc/PID")
		switch {
		case a.R == enoent: // not there
		case a.Try == "/mnt/binfs" && a.R == eacces: // not to be listed
		case a.R == 0 && slices.Contains(copied, name):
		case a.R == 0:
			seen = append(seen, name)
			if !slices.Contains(want, name) {
				c.errorf("%s is there", a.Try)
			}
		default:
			c.errorf("%s: %d (%v)", a.Try, a.R, a.Errno())
		}
	}
	for _, name := range want {
		if !slices.Contains(seen, name) {
			c.errorf("%s is not there", name)
		}
	}
}

func noWrites(c *check) {
	no := []int64{eperm, enosys, erofs, eacces}
	c.refused(c.row("P2"), 240, answers{
		"": no,
		// /proc makes no names at all.
		"create /proc": append(no, enoent), "tmpfile /proc": append(no, enoent, -95), "tmpfile /": append(no, -95, -21),
	})
	// The next proc finds the jail as it was.
	for _, a := range c.row("P1") {
		if strings.HasSuffix(a.Try, "/x") || strings.HasSuffix(a.Try, "/y") {
			c.errorf("%s has appeared", a.Try)
		}
	}
}

// noProcesses looks for processes of this machine: victims, slots, sigmad.
func noProcesses(c *check) {
	pids := []string{fmt.Sprint(os.Getpid())}
	for _, v := range c.s.victims {
		pids = append(pids, fmt.Sprint(v.info.PID))
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all[:min(len(all), 60)] {
		pids = append(pids, filepath.Base(p))
	}
	got := c.row("P3", pids...)
	self := c.find(got, "pid").R
	mine := fmt.Sprintf("/proc/%d", self)
	n := 0
	for _, a := range got {
		switch {
		case a.Try == "pid":
		case a.Try == "exists "+mine:
			n++
		case a.Try == mine || strings.HasPrefix(a.Try, mine+"/"): // a host pid that is ours in there
		case a.R != enoent:
			c.errorf("%s: %d (%v)", a.Try, a.R, a.Errno())
		}
	}
	if n != 1 {
		c.errorf("the proc saw itself %d times", n)
	}
}

func noNames(c *check) {
	host, _ := os.Hostname()
	for _, a := range c.row("P6") {
		if a.R != 0 {
			c.errorf("%s: %d (%v)", a.Try, a.R, a.Errno())
		}
		for _, bad := range []string{c.s.them.ID, c.s.them.Name, "/sys/", "/var/", "/home", "/root/", "/tmp", "/run/"} {
			if strings.Contains(a.Text, bad) {
				c.errorf("%s names %q:\n%s", a.Try, bad, a.Text)
			}
		}
		if a.Try == "uname" && (a.Text == host || a.Text != "sigma") {
			c.errorf("the host's name is %q inside", a.Text)
		}
		if strings.HasSuffix(a.Try, "/cgroup") && strings.ContainsAny(strings.ReplaceAll(a.Text, ":/\n", ""), "/") {
			c.errorf("/proc/self/cgroup names groups:\n%s", a.Text)
		}
	}
}

func noChroot(c *check) {
	got := c.row("P11")
	c.refused(got, 5, answers{"getcwd": {0}})
	if cwd := c.find(got, "getcwd").Text; cwd != "/" {
		c.errorf("the working directory is %q", cwd)
	}
}

// badNames tries a program that the other realm alone has, and what a parser
// would trip over.
func badNames(c *check) {
	d, realm := c.s.digest, c.s.them.ID
	const enametoolong, enotdir = -36, -20
	c.refused(c.row("P13", d, "../"+realm, "../"+realm+"/"+d, realm+"/"+d, d+".tree", "../../"+realm), 30, answers{
		"": {enoent}, "the folder": {eacces}, "exclusive": {erofs, eacces, enoent}, "a program with": {enotdir}, "through a program": {enotdir},
		"bytes 4097": {enametoolong}, "s1-x/": {enoent, enotdir},
	})
}

// ownLayout: procs that came out of one slot differ in their addresses, for exec
// draws them.
func ownLayout(c *check) {
	seen := make(map[string]map[int64]bool)
	const runs = 6
	for range runs {
		for _, a := range c.row("P19") {
			if seen[a.Try] == nil {
				seen[a.Try] = make(map[int64]bool)
			}
			seen[a.Try][a.R] = true
		}
	}
	clear(c.result.Answers) // chance: no two runs have the same
	for what, values := range seen {
		if len(values) < runs-1 {
			c.errorf("%s: %d different addresses in %d procs", what, len(values), runs)
		}
	}
	if len(seen) != 3 {
		c.errorf("looked at %v", seen)
	}
}

// ownPages: one program in two realms is two files, so that the page cache tells
// neither what the other ran; S33 closes the calls that would look.
func ownPages(c *check) {
	mine, theirs := c.row("P21"), c.run(c.s.other, Describe("P21"))
	a, b := c.find(mine, "inode").R, c.find(theirs, "inode").R
	if a == b || a == 0 || c.find(mine, "stat").R != 0 {
		c.errorf("inode %d in one realm, %d in the other", a, b)
	}
	if again := c.find(c.row("P21"), "inode").R; again != a {
		c.errorf("and in the same realm %d, then %d", a, again)
	}
	clear(c.result.Answers)
}
