package named

import (
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func TestGetIsOneStep(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h := newHost(t, "na", nil)
	root, op := h.root(t, realm, "alice"), h.root(t, realm, "")
	want := put(t, root, "f", "text")
	d := mkdir(t, root, "d", 0o755)
	link, err := root.Create(ctx, "l", tree.NewFile{Mode: tree.ModeSymlink, Target: "f"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Put(ctx, "secret", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o600}, Create: true, Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	walk := func(name string) tree.Getter {
		t.Helper()
		f, err := root.Walk(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return f.(tree.Getter)
	}
	for max, text := range map[int]string{4: "text", 1 << 20: "text", 3: "", 0: ""} {
		if a, b, err := walk("f").Get(ctx, max); err != nil || string(b) != text || a != want {
			t.Errorf("Get(%d) = %+v, %q, %v, want %q", max, a, b, err, text)
		}
	}
	for call, c := range map[string]struct {
		f    tree.Getter
		kind api.Kind
	}{"directory": {d.(tree.Getter), api.IsDir}, "link": {link.(tree.Getter), api.Invalid}, "unreadable file": {walk("secret"), api.Denied}} {
		if a, b, err := c.f.Get(ctx, 100); api.KindOf(err) != c.kind || b != nil || a != (tree.Attr{}) {
			t.Errorf("Get of a %s = %+v, %q, %v, want kind %q and nothing", call, a, b, err, c.kind)
		}
	}
}

func TestSpaceIsTheRealmsQuota(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	root := newHost(t, "na", func(c *Config) { c.Limits = Limits{Bytes: 1000, Files: 10} }).root(t, realm, "alice")
	put(t, root, "abc", "1234567")
	mkdir(t, root, "d", 0o755)
	got, err := root.(tree.Spacer).Space(ctx)
	if want := (tree.Space{Bytes: 1000, FreeBytes: 1000 - 3 - 7 - 1, Files: 10, FreeFiles: 8}); err != nil || got != want {
		t.Errorf("Space = %+v, %v, want %+v", got, err, want)
	}
}

func TestTimesThatCannotBeKeptAreRefused(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	root := newHost(t, "na", nil).root(t, realm, "alice")
	put(t, root, "f", "x")
	f, err := root.Walk(ctx, "f")
	if err != nil {
		t.Fatal(err)
	}
	for year, kind := range map[int]api.Kind{1: api.Invalid, 1677: api.Invalid, 1678: "", 2261: "", 2262: api.Invalid, 9999: api.Invalid} {
		when := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		a, err := f.SetAttr(ctx, tree.SetAttr{Modified: &when})
		wantKind(t, err, when.String(), kind)
		if err == nil && !a.Modified.Equal(when) {
			t.Errorf("%v is kept as %v", when, a.Modified)
		}
	}
}
