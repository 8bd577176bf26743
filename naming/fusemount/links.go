package fusemount

import (
	"strings"

	"sigmaos/naming/view"
)

// target is what a symbolic link of the realm leads to, on this machine.
func (s *server) target(f *view.File, target string) string {
	if strings.HasPrefix(target, "/") {
		names, _ := tidy(target[1:])
		return s.point + "/" + strings.Join(names, "/")
	}
	if target == "" || !strings.Contains(target, "..") {
		return target
	}
	names, ups := tidy(target)
	switch depth := f.Depth() - 1; { // of the directory that has the link
	case ups > depth:
		return s.point + "/" + strings.Join(names, "/")
	case ups+len(names) == 0:
		return "."
	default:
		return strings.Repeat("../", ups) + strings.Join(names, "/")
	}
}

// tidy takes "", "." and ".." out of a path, by its text; ups is how many ".."
// lead above its beginning.
func tidy(path string) (names []string, ups int) {
	for name := range strings.SplitSeq(path, "/") {
		switch {
		case name == "" || name == ".":
		case name != "..":
			names = append(names, name)
		case len(names) > 0:
			names = names[:len(names)-1]
		default:
			ups++
		}
	}
	return names, ups
}

// stored is what a link to target is in the realm.
func (s *server) stored(target string) string {
	if target == s.point {
		return "/"
	}
	if rest, ok := strings.CutPrefix(target, s.point+"/"); ok {
		return "/" + strings.TrimLeft(rest, "/")
	}
	return target
}
