package treetest

import (
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (e *env) leases() tree.Leases {
	e.Helper()
	l, ok := e.fs.(tree.Leases)
	if !ok {
		e.Fatal("the tree is no tree.Leases")
	}
	return l
}

func testLeases(e *env) {
	l, alice := e.leases(), e.cfg.caller("alice")
	lease, err := l.Grant(e.ctx, alice, time.Minute)
	e.ok(err, "Grant")
	if lease == "" {
		e.Fatal("Grant gives an empty lease")
	}
	f, err := e.alice.Create(e.ctx, "f", tree.NewFile{Mode: tree.ModeFile | 0o644, Lease: lease, Exclusive: true})
	e.ok(err, "Create with a lease")
	if got := e.attr(f).Lease; got != lease {
		e.Errorf("Attr has lease %q, want %q", got, lease)
	}
	_, err = e.alice.Put(e.ctx, "p", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644, Lease: lease}, Create: true, Data: []byte("x")})
	e.ok(err, "Put with a lease")
	e.put(e.alice, "stays", "x")
	e.ok(l.Renew(e.ctx, alice, lease), "Renew")
	var w *watcher
	if e.cfg.Watch {
		w = e.watch(e.alice, 0)
	}
	e.ok(l.Revoke(e.ctx, alice, lease), "Revoke")
	if got := e.list(e.alice, 10); len(got) != 1 || got[0] != "stays" {
		e.Errorf("after Revoke there are %q, want stays alone", got)
	}
	if w != nil {
		w.await("two removals", func() bool { return len(w.events) >= 2 })
		for _, x := range w.events {
			if x.Kind != tree.Removed {
				e.Errorf("Revoke tells %v, want removals", w.got())
			}
		}
	}
	e.is(l.Renew(e.ctx, alice, lease), "Renew of what was revoked", api.NotFound)
	e.is(l.Revoke(e.ctx, alice, lease), "Revoke of what was revoked", api.NotFound)
	_, err = e.alice.Create(e.ctx, "late", tree.NewFile{Mode: tree.ModeFile | 0o644, Lease: lease})
	e.is(err, "Create with a lease that ended", api.NotFound)
	_, err = l.Grant(e.ctx, alice, -time.Second)
	e.is(err, "Grant for less than nothing", api.Invalid)
}

// A lease is its holder's alone, and so are the files that go with it (N27).
func testLeasesOfOthers(e *env) {
	l, alice, bob := e.leases(), e.cfg.caller("alice"), e.cfg.caller("bob")
	lease, err := l.Grant(e.ctx, alice, time.Minute)
	e.ok(err, "Grant")
	e.is(l.Renew(e.ctx, bob, lease), "bob renews alice's lease", api.NotFound)
	e.is(l.Revoke(e.ctx, bob, lease), "bob revokes alice's lease", api.NotFound)
	_, err = e.bob.Create(e.ctx, "b", tree.NewFile{Mode: tree.ModeFile | 0o644, Lease: lease})
	e.is(err, "bob creates with alice's lease", api.NotFound)
	_, err = e.alice.Create(e.ctx, "f", tree.NewFile{Mode: tree.ModeFile | 0o644, Lease: lease, Exclusive: true})
	e.ok(err, "Create with a lease")
	e.is(e.bob.Remove(e.ctx, "f", false), "bob removes alice's ephemeral file", api.Denied)
	if e.cfg.Rename {
		e.put(e.bob, "b", "bob's")
		e.is(e.bob.Rename(e.ctx, "b", e.bob, "f"), "bob replaces alice's ephemeral file", api.Denied)
		e.is(e.bob.Rename(e.ctx, "f", e.bob, "g"), "bob moves alice's ephemeral file", api.Denied)
		e.ok(e.alice.Rename(e.ctx, "f", e.alice, "g"), "alice moves her ephemeral file")
	}
	e.ok(l.Revoke(e.ctx, alice, lease), "Revoke")
	for _, n := range e.list(e.alice, 10) {
		if n != "b" {
			e.Errorf("after Revoke there is %s", n)
		}
	}
}

// Once a later term was seen, an earlier one can read but not write (F10).
func testFences(e *env) {
	term := func(path string, epoch uint64) tree.File {
		return e.attach("alice", "/t", &tree.Fence{Path: path, Epoch: epoch})
	}
	first := term("/leader", 7)
	f := e.create(first, "f", tree.ModeFile|0o644)
	h := e.open(f, rw)
	e.write(h, 0, "first")
	second, other := term("/leader", 8), term("/another", 1)
	e.put(other, "o", "another election")
	size := int64(0)
	_, err := first.Create(e.ctx, "x", tree.NewFile{Mode: tree.ModeFile | 0o644})
	e.is(err, "Create by a deposed leader", api.Conflict)
	_, err = first.Put(e.ctx, "f", tree.Put{Data: []byte("x")})
	e.is(err, "Put by a deposed leader", api.Conflict)
	_, err = h.WriteAt(e.ctx, []byte("x"), 0)
	e.is(err, "WriteAt by a deposed leader", api.Conflict)
	_, err = f.SetAttr(e.ctx, tree.SetAttr{Size: &size})
	e.is(err, "SetAttr by a deposed leader", api.Conflict)
	e.is(first.Remove(e.ctx, "f", false), "Remove by a deposed leader", api.Conflict)
	if e.cfg.Rename {
		e.is(first.Rename(e.ctx, "f", first, "g"), "Rename by a deposed leader", api.Conflict)
	}
	_, err = f.Open(e.ctx, tree.OpenMode{Write: true, Truncate: true})
	e.is(err, "Open that truncates by a deposed leader", api.Conflict)
	e.has(f, "first")
	e.put(second, "f", "second")
	e.put(e.alice, "g", "no fence at all")
	e.has(f, "second")
}
