package named

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func TestPROBES_N28_Quotas(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h := newHost(t, "na", func(c *Config) {
		c.Limits = Limits{Bytes: 10_000, Files: 20, Depth: 4, Handles: 3, Watchers: 2, Leases: 2}
	})
	fs, root, c := h.tree(t, realm), h.root(t, realm, "alice"), as(realm, "alice")
	new := func(dir tree.File, name string, mode uint32) error {
		return second(dir.Create(ctx, name, tree.NewFile{Mode: mode | 0o755, Exclusive: true}))
	}

	put(t, root, "big", strings.Repeat("x", 9_000))
	err := second(root.Put(ctx, "more", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: make([]byte, 1_000)}))
	wantKind(t, err, "Put over the realm's bytes", api.Busy)
	if !strings.Contains(err.Error(), "quota") || !strings.Contains(err.Error(), "/ux") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	wantKind(t, second(root.Put(ctx, "big", tree.Put{Append: true, Data: make([]byte, 1_000)})), "append over it", api.Busy)
	wantKind(t, second(root.Create(ctx, "l", tree.NewFile{Mode: tree.ModeSymlink, Target: strings.Repeat("t", 1_000)})), "link over it", api.Busy)
	wantKind(t, root.Rename(ctx, "big", root, strings.Repeat("n", 255)), "Rename below it", "")
	wantKind(t, root.Rename(ctx, strings.Repeat("n", 255), root, "big"), "Rename back", "")
	f, err := root.Walk(ctx, "big")
	if err != nil {
		t.Fatal(err)
	}
	held, err := f.Open(ctx, tree.OpenMode{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Remove(ctx, "big", false); err != nil {
		t.Fatal(err)
	}
	wantKind(t, second(root.Put(ctx, "more", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: make([]byte, 5_000)})), "Put while what was removed is open", api.Busy)
	wantKind(t, second(held.WriteAt(ctx, make([]byte, 8_000), 4_000)), "growing what was removed", api.Busy)
	held.Close()
	put(t, root, "more", strings.Repeat("y", 5_000))

	for i := range 19 {
		if err := new(root, fmt.Sprint("f", i), tree.ModeFile); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, new(root, "f20", tree.ModeFile), "one file more than the realm may have", api.Busy)
	for i := range 19 {
		if err := root.Remove(ctx, fmt.Sprint("f", i), false); err != nil {
			t.Fatal(err)
		}
	}

	dir := root
	for i := range 3 {
		dir = mkdir(t, dir, fmt.Sprint("d", i), 0o755)
	}
	put(t, dir, "leaf", "x")
	wantKind(t, new(mkdir(t, dir, "deepest", 0o755), "x", tree.ModeFile), "a file too deep", api.TooLarge)
	side := mkdir(t, mkdir(t, root, "s", 0o755), "t", 0o755)
	wantKind(t, root.Rename(ctx, "d0", side, "d0"), "Rename that would make a tree too deep", api.TooLarge)

	f, err = root.Walk(ctx, "more")
	if err != nil {
		t.Fatal(err)
	}
	var open []tree.Handle
	for range 3 {
		o, err := f.Open(ctx, tree.OpenMode{Read: true})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, o)
	}
	wantKind(t, second(f.Open(ctx, tree.OpenMode{Read: true})), "one handle too many", api.Busy)
	open[0].Close()
	if _, err := f.Open(ctx, tree.OpenMode{Read: true}); err != nil {
		t.Errorf("Open after Close: %v", err)
	}

	wctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 2)
	for range 2 {
		ready := make(chan struct{})
		go func() { done <- root.Watch(wctx, 0, func(uint64, []tree.Event) error { close(ready); return nil }) }()
		<-ready
	}
	none := func(uint64, []tree.Event) error { return errors.New("told") }
	wantKind(t, root.Watch(ctx, 0, none), "one watcher too many", api.Busy)
	cancel()
	for range 2 {
		wantKind(t, <-done, "Watch", api.Canceled)
	}
	if err := root.Watch(ctx, 0, none); err == nil || err.Error() != "told" {
		t.Errorf("Watch after others ended: %v", err)
	}

	grant(t, fs, c, time.Minute)
	last := grant(t, fs, c, time.Minute)
	wantKind(t, second(fs.Grant(ctx, c, time.Minute)), "one lease too many", api.Busy)
	if err := fs.Revoke(ctx, c, last); err != nil {
		t.Fatal(err)
	}
	grant(t, fs, c, time.Minute)
}

func TestTooLargeSaysWhereToGo(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	root := newHost(t, "na", nil).root(t, realm, "alice")
	_, err := root.Put(ctx, "f", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: make([]byte, 2<<20)})
	if api.KindOf(err) != api.TooLarge || !strings.Contains(err.Error(), "too large for named") || !strings.Contains(err.Error(), "use /ux or /s3") {
		t.Errorf("Put of 2 MiB: %v", err)
	}
}

func TestPROBES_N21_Names(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	fs := newHost(t, "na", nil).tree(t, realm)
	root := attach(t, fs, as(realm, "alice"), "", nil)
	for _, n := range []string{"~local", "~any"} {
		wantKind(t, second(root.Create(ctx, n, tree.NewFile{Mode: tree.ModeFile})), "Create "+n, api.Invalid)
		wantKind(t, second(root.Put(ctx, n, tree.Put{Create: true})), "Put "+n, api.Invalid)
		wantKind(t, second(root.Walk(ctx, n)), "Walk "+n, api.NotFound)
		put(t, root, "f", "x")
		wantKind(t, root.Rename(ctx, "f", root, n), "Rename to "+n, api.Invalid)
	}
	put(t, root, "~LOCAL", "an ordinary name")
	for aname, want := range map[string]api.Kind{
		"/../other": api.Invalid, "..": api.Invalid, "a//b": api.Invalid, "/a/./b": api.Invalid, "a\x00": api.Invalid, "\xff": api.Invalid, "/a/": api.Invalid,
		strings.Repeat("/x", 32<<10): api.TooLarge, strings.Repeat("/x", 8<<10): api.NotFound, "/" + strings.Repeat("x", 256): api.TooLarge, "/f/x": api.NotDir,
	} {
		_, err := fs.Attach(ctx, as(realm, "alice"), aname, nil)
		wantKind(t, err, fmt.Sprintf("Attach(%.20q)", aname), want)
	}
}

func TestPROBES_N27_SystemNamesAreTheSystems(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	fs := newHost(t, "na", nil).tree(t, realm)
	op, root := attach(t, fs, as(realm, ""), "", nil), attach(t, fs, as(realm, "alice"), "", nil)
	for name := range reserved {
		wantKind(t, second(root.Create(ctx, name, tree.NewFile{Mode: tree.ModeDir | 0o755})), "Create "+name, api.Denied)
		wantKind(t, second(root.Put(ctx, name, tree.Put{Create: true})), "Put "+name, api.Denied)
		if has(t, root, name) {
			t.Errorf("%s is there", name)
		}
		put(t, root, "f", "x")
		wantKind(t, root.Rename(ctx, "f", root, name), "Rename to "+name, api.Denied)
	}
	ux := mkdir(t, op, "ux", 0o777) // whatever the mode says
	put(t, mkdir(t, ux, "deep", 0o777), "node", "x")
	dir, err := fs.Attach(ctx, as(realm, "alice"), "/ux/deep", nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dir.Walk(ctx, "node")
	if err != nil {
		t.Fatal(err)
	}
	perm, size := uint32(0o666), int64(0)
	if _, err := attach(t, fs, as(realm, ""), "/ux/deep/node", nil).SetAttr(ctx, tree.SetAttr{Perm: &perm}); err != nil {
		t.Fatal(err)
	}
	put(t, root, "f", "x")
	for call, err := range map[string]error{
		"Remove of the directory": root.Remove(ctx, "ux", true), "Rename away": root.Rename(ctx, "ux", root, "mine"), "Rename over": root.Rename(ctx, "f", root, "ux"),
		"Create below": second(dir.Create(ctx, "x", tree.NewFile{Mode: tree.ModeFile})), "Put below": second(dir.Put(ctx, "node", tree.Put{Data: []byte("x")})),
		"Remove below": dir.Remove(ctx, "node", false), "Rename from below": dir.Rename(ctx, "node", root, "stolen"), "Rename to below": root.Rename(ctx, "f", dir, "f"),
		"Open to write": second(f.Open(ctx, tree.OpenMode{Write: true})), "SetAttr size": second(f.SetAttr(ctx, tree.SetAttr{Size: &size})),
		"SetAttr of the root": second(root.SetAttr(ctx, tree.SetAttr{Perm: &perm})),
	} {
		wantKind(t, err, call+" by a tenant", api.Denied)
	}
	wantFile(t, root, "ux/deep/node", "x")
	put(t, mkdir(t, root, "sub", 0o755), "ux", "below the root the names are free")
}

// A realm's tree does not exist for callers of another one.
func TestAnotherRealmIsAbsent(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	fs := newHost(t, "na", nil).tree(t, realm)
	lease := grant(t, fs, as(realm, "alice"), time.Minute)
	for _, c := range []api.Caller{as("other", "alice"), as("other", ""), as("", "alice")} {
		_, err := fs.Attach(ctx, c, "", nil)
		wantKind(t, err, fmt.Sprintf("Attach by %+v", c), api.NotFound)
		wantKind(t, second(fs.Grant(ctx, c, time.Minute)), "Grant", api.NotFound)
		wantKind(t, fs.Renew(ctx, c, lease), "Renew", api.NotFound)
		wantKind(t, fs.Revoke(ctx, c, lease), "Revoke", api.NotFound)
	}
	if _, err := fs.Attach(ctx, api.Caller{Operator: true}, "", nil); err != nil {
		t.Errorf("Attach by an operator in no realm: %v", err)
	}
	bad := as(realm, strings.Repeat("u", 256))
	_, err := fs.Attach(ctx, bad, "", nil)
	wantKind(t, err, "Attach by a user with a long name", api.Invalid)
}

// A write that waited too long for its turn has not happened.
func TestAWriteThatIsGivenUpInTheQueueDoesNotHappen(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h := newHost(t, "na", func(c *Config) { c.LeaseTTL = 20 * time.Second })
	root := h.root(t, realm, "alice")
	h.line.pause()
	asked := h.line.asked.Load()
	first := make(chan error, 1)
	go func() { first <- second(root.Put(ctx, "first", tree.Put{Create: true})) }()
	eventually(t, "the first is under way", func() bool { return h.line.asked.Load() > asked })
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	wantKind(t, second(root.Put(short, "second", tree.Put{Create: true})), "Put with little time", api.Deadline)
	h.line.resume()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	put(t, root, "third", "x")
	if has(t, root, "second") {
		t.Error("a write that was given up has happened")
	}
}
