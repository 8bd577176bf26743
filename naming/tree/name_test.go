package tree

import (
	"strings"
	"testing"

	"sigmaos/api"
)

func TestCheckName(t *testing.T) {
	for name, want := range map[string]api.Kind{
		"a": "", "...": "", "~local": "", "ü": "", "a b": "", strings.Repeat("x", MaxName): "",
		"": api.Invalid, ".": api.Invalid, "..": api.Invalid, "a/b": api.Invalid, "/": api.Invalid, "a\x00": api.Invalid,
		"\xff": api.Invalid, strings.Repeat("x", MaxName+1): api.TooLarge,
	} {
		if got := api.KindOf(CheckName("walk", name)); got != want {
			t.Errorf("CheckName(%.40q) is %q, want %q", name, got, want)
		}
	}
}

func TestAllows(t *testing.T) {
	alice, bob, op := api.Caller{User: "alice"}, api.Caller{User: "bob"}, api.Caller{Operator: true}
	for _, c := range []struct {
		name   string
		mode   uint32
		caller api.Caller
		rights uint32
		want   bool
	}{
		{"owner reads", 0o400, alice, MayRead, true},
		{"owner's bits alone count for the owner", 0o070, alice, MayRead, false},
		{"others of the realm are the group", 0o040, bob, MayRead, true},
		{"the last three bits are nobody's", 0o007, bob, MayRead, false},
		{"all rights asked for are needed", 0o020, bob, MayWrite | MaySearch, false},
		{"an operator may all", 0, op, MayRead | MayWrite | MaySearch, true},
	} {
		if got := (Attr{Mode: c.mode, Owner: "alice"}).Allows(c.caller, c.rights); got != c.want {
			t.Errorf("%s: Allows is %v, want %v", c.name, got, c.want)
		}
	}
}
