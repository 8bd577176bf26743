package cgroup

import (
	"path/filepath"
	"slices"
	"strings"
)

// mount is one line of mountinfo that shows a hierarchy.
type mount struct {
	root, point string // the hierarchy's group seen at point
	v2          bool
	readOnly    bool
	options     []string // of the superblock; v1 names its controllers among them
}

func parseMounts(mountinfo string) (out []mount) {
	for _, line := range strings.Split(mountinfo, "\n") {
		left, right, ok := strings.Cut(line, " - ")
		f, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 6 || len(r) < 3 || r[0] != "cgroup" && r[0] != "cgroup2" {
			continue
		}
		m := mount{root: unescape(f[3]), point: unescape(f[4]), v2: r[0] == "cgroup2", options: strings.Split(r[2], ",")}
		m.readOnly = slices.Contains(strings.Split(f[5], ","), "ro") || slices.Contains(m.options, "ro")
		out = append(out, m)
	}
	return out
}

// unescape undoes mountinfo's octal form of blanks and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// parseGroups maps each controller, "" for v2, to the process's group.
func parseGroups(self string) map[string]string {
	out := make(map[string]string)
	for _, line := range strings.Split(self, "\n") {
		p := strings.SplitN(line, ":", 3)
		if len(p) != 3 {
			continue
		}
		for _, c := range strings.Split(p[1], ",") {
			out[c] = p[2]
		}
	}
	return out
}

// pick chooses among the places where a hierarchy is mounted: writable ones
// first, then those that show the group.
func pick(mounts []mount, controller, group string) (best mount, found bool) {
	score := -1
	for _, m := range mounts {
		if m.v2 != (controller == "") || !m.v2 && !slices.Contains(m.options, controller) {
			continue
		}
		n := 0
		if !m.readOnly {
			n += 2
		}
		if _, ok := m.rel(group); ok {
			n++
		}
		if n > score {
			best, score, found = m, n, true
		}
	}
	return best, found
}

// rel is a group's path below the mount point.
func (m mount) rel(group string) (string, bool) {
	if group == "/.." || strings.HasPrefix(group, "/../") {
		return "", false // outside of our cgroup namespace
	}
	if m.root == "/" {
		return group, true
	}
	rest, ok := strings.CutPrefix(group, m.root)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// dir is where the group is; one that the mount does not show becomes its top.
func (m mount) dir(group string) string {
	rest, ok := m.rel(group)
	if !ok {
		return m.point
	}
	return filepath.Join(m.point, rest)
}
