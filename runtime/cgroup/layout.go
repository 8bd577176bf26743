package cgroup

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Version of the hierarchies that hold the controllers.
type Version int

const (
	V1     Version = iota + 1
	Hybrid         // v1 beside a v2 tree that has few controllers or none
	V2
)

func (v Version) String() string { return [...]string{"none", "v1", "hybrid", "v2"}[v] }

// Layout says where the controllers are. Dirs maps each v1 controller to the
// directory below which sigmad builds; the key "" is the v2 tree's, which has
// the controllers without a key of their own.
type Layout struct {
	Version Version
	Dirs    map[string]string
	// Why says why groups do not go below sigmad's own group; empty where they do.
	Why string

	own  map[string]string // like Dirs: the group that sigmad was started in
	fake *kernel           // tests: stands in for cgroupfs
}

// kernel makes and removes groups. cgroupfs fills a new directory with control
// files and empties it at rmdir; a plain directory needs somebody to do that.
type kernel struct {
	mkdir, rmdir func(dir string) error
}

func (l Layout) mkdir(dir string) error {
	if l.fake != nil {
		return l.fake.mkdir(dir)
	}
	return unix.Mkdir(dir, 0o755)
}

func (l Layout) rmdir(dir string) error {
	if l.fake != nil {
		return l.fake.rmdir(dir)
	}
	return unix.Rmdir(dir)
}

// at is the directory that has a controller, and whether it is on the v2 tree.
func (l Layout) at(controller string) (dir string, v2 bool) {
	if d, ok := l.Dirs[controller]; ok {
		return d, controller == ""
	}
	return l.Dirs[""], true
}

// bases are the directories of the hierarchies in a fixed order; controllers
// that are mounted together count once.
func (l Layout) bases() []string {
	var out []string
	for _, d := range l.Dirs {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// ownDir is where sigmad was in the hierarchy of base.
func (l Layout) ownDir(base string) string {
	for c, d := range l.Dirs {
		if o, ok := l.own[c]; ok && d == base {
			return o
		}
	}
	return base
}

// v2Controllers are those that the v2 tree has to provide.
func (l Layout) v2Controllers() []string {
	var out []string
	for _, c := range []string{"cpu", "memory", "pids"} {
		if _, v2 := l.at(c); v2 {
			out = append(out, c)
		}
	}
	return out
}

var (
	nameRule = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	rootRule = regexp.MustCompile(`^sigma(-[a-z0-9-]{1,34})?$`)
	// within finds a root, or the group for real-time threads, in the path of a group.
	within   = regexp.MustCompile(`/(sigma(-[a-z0-9-]{1,34})?(\.be)?/(sys|lc|be|lc(\.[a-z0-9-]{1,40}){3})|sigma\.rt)(/|$)`)
	branches = [...]string{"sys", "lc", "be"}
)

// beside is what the name of the group that has the best-effort branch, where that is
// not in the root, has more than the root's. No root has such a name.
const beside = ".be"

// steps are the names of the groups on the way to path, which begins with a branch, in
// the hierarchy of base; none where the path has no group in it.
func (l Layout) steps(base, root, path string) []string {
	names := strings.Split(path, "/")
	switch {
	case path == "":
		return []string{root}
	case names[0] == "be" && l.Dirs["cpu"] == base: // v1's, which has no other limits
		root += beside
	case names[0] == "lc" && l.flat(base):
		if len(names) < slotDepth {
			return nil
		}
		return []string{root, flatName(path)}
	}
	return append([]string{root}, names...)
}

// group is the directory of a path in the hierarchy of base; "" where it has none.
func (l Layout) group(base, root, path string) string {
	steps := l.steps(base, root, path)
	if len(steps) == 0 {
		return ""
	}
	return filepath.Join(append([]string{base}, steps...)...)
}

// places are the directories of a path that may be there: where it is built, and where
// versions built it that had all branches in the root, as deep as the paths.
func (l Layout) places(base, root, path string) []string {
	var out []string
	if dir := l.group(base, root, path); dir != "" {
		out = append(out, dir)
	}
	if before := filepath.Join(base, root, path); !slices.Contains(out, before) {
		out = append(out, before)
	}
	return out
}

func checkName(what, name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("cgroup: %s %q cannot name a group; use 1 to 40 of a-z, 0-9 and -", what, name)
	}
	return nil
}

// rootName fills in the default and checks. Roots are recognised by name, by a
// sigmad that is started inside one and by those who look for leftovers.
func rootName(root string) (string, error) {
	if root == "" {
		return "sigma", nil
	}
	if !rootRule.MatchString(root) {
		return "", fmt.Errorf(`cgroup: root %q must be "sigma" or begin with "sigma-", followed by a-z, 0-9 and -, at most 40 in all`, root)
	}
	return root, nil
}

// outside cuts a root and what follows off a group's path, so that a sigmad
// started from a process of an earlier one builds where that one did.
func outside(group string) string {
	if at := within.FindStringIndex(group); at != nil {
		group = group[:at[0]]
	}
	return "/" + strings.TrimPrefix(filepath.Clean(group), "/")
}
