package named

import (
	"strings"
	"unicode/utf8"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// reserved are names in a realm's root that belong to the system: only an
// operator's calls change anything there or below, so that no tenant can pose
// as one of its servers.
var reserved = map[string]bool{
	"bin":   true, // the realm's programs
	"db":    true, // databases
	"named": true, // this server
	"realm": true, // about the realm itself
	"s3":    true, // object stores
	"sched": true, // queues and placement
	"ux":    true, // the nodes' scratch space
}

// pseudo are names that stand for a server near the caller when a path is
// resolved; a file called so could never be reached.
var pseudo = map[string]bool{"~local": true, "~any": true}

// req is one call: who asks for what, for checks and error texts.
type req struct {
	c     *api.Caller
	op    string
	path  string
	fence *tree.Fence
}

// err is an error about the file itself, or about name in it.
func (r *req) err(kind api.Kind, name, format string, args ...any) error {
	p := r.path
	if name != "" {
		p = join(p, name)
	}
	return api.E(kind, r.op, show(p), format, args...)
}

func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// show makes a path fit for an error text.
func show(s string) string {
	if len(s) > 160 {
		s = s[:80] + "…" + s[len(s)-60:]
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
}

func (r *req) checkName(name string) error { return tree.CheckName(r.op, name) }

// checkNewName is for names that are about to be given.
func (r *req) checkNewName(name string) error {
	if err := r.checkName(name); err != nil {
		return err
	}
	if pseudo[name] {
		return r.err(api.Invalid, name, "%s stands for a server near the caller; a file of this name could not be reached", name)
	}
	return nil
}

// split cuts a path from the root into names. It takes no dots and no empty
// steps: whoever sends a path has resolved it.
func (r *req) split(path string) ([]string, error) {
	if path == "" || path == "/" {
		return nil, nil
	}
	if len(path) > tree.MaxPath {
		return nil, r.err(api.TooLarge, "", "a path of %d bytes; at most %d", len(path), tree.MaxPath)
	}
	steps := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for _, s := range steps {
		if err := r.checkName(s); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// validRealm says whether s can stand in a key as a realm's id.
func validRealm(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
