package cgroup

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// slotDepth is how many names the path of a slot has: branch, node, realm, slot.
const slotDepth = 4

// flat reports whether the latency-critical slots stand side by side in the root, in the
// hierarchy of base: where the cpu controller is alone in it. Each level costs every
// proc time whenever it sleeps or wakes, and nothing but weights is wanted of that
// controller, which are the same in one level. The other controllers have limits and
// sums at each; so has one that cpuacct is mounted with, by which what a realm uses is
// told.
func (l Layout) flat(base string) bool {
	for c, d := range l.Dirs {
		if d == base && c != "cpu" {
			return false
		}
	}
	return l.Dirs["cpu"] == base
}

// flatRule is the name of a slot's group there; no name in a path has a dot.
var flatRule = regexp.MustCompile(`^lc\.([a-z0-9-]{1,40})\.[a-z0-9-]{1,40}\.[a-z0-9-]{1,40}$`)

func flatName(path string) string { return strings.ReplaceAll(path, "/", ".") }

// flatNode is the node whose slot a group in the root is by its name, "" if it is none.
func flatNode(name string) string {
	if m := flatRule.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}

// flatSlots are the names of the slots that stand in the root, in the hierarchy of base.
func (l Layout) flatSlots(base, root string) ([]string, error) {
	names, err := subdirs(filepath.Join(base, root))
	if err != nil && !vanished(err) {
		return nil, err
	}
	return slices.DeleteFunc(names, func(n string) bool { return flatNode(n) == "" }), nil
}
