package tree

import (
	"strings"
	"unicode/utf8"

	"sigmaos/api"
)

// CheckName says whether name can be an entry of a directory. Every server
// refuses what it refuses, so that no name exists in one part of the name space
// that another part or a mount cannot show.
func CheckName(op, name string) error {
	switch {
	case len(name) > MaxName:
		return api.E(api.TooLarge, op, name[:32]+"…", "the name has %d bytes; the limit is %d", len(name), MaxName)
	case name == "" || name == "." || name == "..":
		return api.E(api.Invalid, op, name, "this cannot be the name of an entry")
	case strings.ContainsAny(name, "/\x00"):
		return api.E(api.Invalid, op, "", "the name %q contains a slash or NUL", name)
	case !utf8.ValidString(name):
		return api.E(api.Invalid, op, "", "the name %q is not UTF-8", name)
	}
	return nil
}

// Rights that Allows is asked for.
const (
	MayRead   = 4
	MayWrite  = 2
	MaySearch = 1 // walk through a directory
)

// Allows reports whether c has all of rights: the owner's bits count for the
// owner, the group's for every other user of the realm; an operator may all.
// Servers see callers of their own realm only.
func (a Attr) Allows(c api.Caller, rights uint32) bool {
	bits := a.Mode >> 3
	if c.User == a.Owner {
		bits = a.Mode >> 6
	}
	return c.Operator || bits&rights == rights
}
