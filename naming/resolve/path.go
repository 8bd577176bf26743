package resolve

import (
	"strings"
	"unicode/utf8"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// The names that stand for one of several servers.
const (
	Local = "~local"
	Any   = "~any"
)

// MaxLinks is how many links one path may have.
const MaxLinks = 32

// maxNames bounds the steps of one path.
const maxNames = 2048

// Clean checks a path and returns its names; dir says that it ended with a
// slash or in a dot, so that a directory is meant.
func Clean(path string) (names []string, dir bool, err error) {
	bad := func(kind api.Kind, format string, args ...any) ([]string, bool, error) {
		return nil, false, api.E(kind, "path", show(path), format, args...)
	}
	switch {
	case len(path) > tree.MaxPath:
		return bad(api.TooLarge, "the path has %d bytes; the limit is %d", len(path), tree.MaxPath)
	case path == "" || path[0] != '/':
		return bad(api.Invalid, "a path begins with /")
	case strings.IndexByte(path, 0) >= 0:
		return bad(api.Invalid, "the path contains NUL")
	case !utf8.ValidString(path):
		return bad(api.Invalid, "the path is not UTF-8")
	}
	for _, n := range strings.Split(path[1:], "/") {
		dir = n == "" || n == "." || n == ".."
		switch {
		case n == "" || n == ".":
		case n == "..":
			if len(names) > 0 {
				names = names[:len(names)-1]
			}
		case len(n) > tree.MaxName:
			return bad(api.TooLarge, "one of its names has %d bytes; the limit is %d", len(n), tree.MaxName)
		default:
			names = append(names, n)
		}
	}
	if len(names) > maxNames {
		return bad(api.TooLarge, "the path has %d names; the limit is %d", len(names), maxNames)
	}
	return names, dir, nil
}

// Join is the path of names.
func Join(names []string) string { return "/" + strings.Join(names, "/") }

// show shortens a path for an error and hides control bytes.
func show(s string) string {
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// union returns where the first ~local or ~any is, or -1.
func union(names []string) int {
	for i, n := range names {
		if n == Local || n == Any {
			return i
		}
	}
	return -1
}
