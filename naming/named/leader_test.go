package named

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/naming/tree"
)

func leads(t *testing.T, err error, node string) {
	t.Helper()
	var nl *NotLeader
	if !errors.As(err, &nl) || nl.Node != node || api.KindOf(err) != api.Unavailable {
		t.Errorf("Tree: %v, want that %s leads", err, node)
	}
}

func TestOneLeadsAndOthersSayWho(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a, b := newHost(t, "na", nil), newHost(t, "nb", nil)
	if n, err := a.Leader(ctx, realm); n != "" || err != nil {
		t.Errorf("Leader before anybody asked: %q %v", n, err)
	}
	root := a.root(t, realm, "alice")
	_, err := b.Tree(ctx, realm)
	leads(t, err, "na")
	for _, h := range []*host{a, b} {
		if n, err := h.Leader(ctx, realm); n != "na" || err != nil {
			t.Errorf("Leader: %q %v, want na", n, err)
		}
	}
	leads(t, b.CheckFence(ctx, realm, tree.Fence{Path: "/x", Epoch: 1}), "na")
	for _, bad := range []string{"", "A", "a/b", "..", "a b", "absent"} {
		_, err := a.Tree(ctx, bad)
		wantKind(t, err, fmt.Sprintf("Tree(%q)", bad), api.NotFound)
	}
	put(t, root, "f", "x")
	a.Close()
	if _, err = root.Attr(ctx); api.KindOf(err) != api.Unavailable {
		t.Errorf("Attr after Close: %v", err)
	}
	_, err = a.Tree(ctx, realm)
	wantKind(t, err, "Tree after Close", api.Unavailable)
	// No lease is waited for: Close has given the realm back.
	if _, err = b.Tree(ctx, realm); err != nil {
		t.Errorf("Tree of the other node after Close: %v", err)
	}
	wantFile(t, b.root(t, realm, "bob"), "f", "x")
}

// To ask on a node who leads a realm writes nothing, where another one does: etcd would
// make an entry in the log of all peers of it.
func TestToAskWhoLeadsIsNoWrite(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a, b := newHost(t, "na", nil), newHost(t, "nb", nil)
	a.root(t, realm, "alice")
	b.line.counting.Store(true)
	for range 3 {
		_, err := b.Tree(ctx, realm)
		leads(t, err, "na")
	}
	if n := b.line.ops.Load(); n != 0 {
		t.Errorf("the node that does not lead asked for %d writes", n)
	}
	a.Close()
	if _, err := b.Tree(ctx, realm); err != nil {
		t.Error(err)
	}
}

// What is acknowledged survives its leader: content, versions, ids, entries,
// what was removed, remembered writes, and watches resume without a gap.
func TestFAULTS_F9_WhatALeaderChangeKeeps(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a, b := newHost(t, "na", nil), newHost(t, "nb", nil)
	root := a.root(t, realm, "alice")
	start, err := root.Attr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d := mkdir(t, root, "d", 0o750)
	f := put(t, d, "f", "one")
	f = put(t, d, "f", "two")
	put(t, root, "gone", "x")
	if err := root.Remove(ctx, "gone", false); err != nil {
		t.Fatal(err)
	}
	once := tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o600, Exclusive: true}, Create: true, Data: []byte("once"), NoReplay: "w-1"}
	first, err := root.Put(ctx, "once", once)
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Rename(ctx, "d", root, "e"); err != nil {
		t.Fatal(err)
	}
	before := events(t, root, start.Version)
	was, err := root.Attr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	last := put(t, root, "last", "x")
	a.Close()

	root = b.root(t, realm, "alice")
	wantFile(t, root, "e/f", "two")
	again, err := root.Put(ctx, "once", once)
	if err != nil || again.ID != first.ID || again.Version != first.Version || again.Size != 4 || !again.Modified.Equal(first.Modified) || again.Owner != "alice" {
		t.Errorf("a write sent again to the next leader: %+v, %v, want %+v", again, err, first)
	}
	_, err = root.Put(ctx, "once", tree.Put{NewFile: once.NewFile, Create: true, NoReplay: "w-2"})
	wantKind(t, err, "another write", api.Exists)
	e, err := root.Walk(ctx, "e")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Walk(ctx, "f"); err != nil {
		t.Error(err)
	} else if at, _ := got.Attr(ctx); at.ID != f.ID || at.Version != f.Version || !at.Modified.Equal(f.Modified) || at.Owner != "alice" {
		t.Errorf("f is %+v, was %+v", at, f)
	}
	if next := put(t, root, "next", "x"); next.ID <= last.ID || next.Version <= last.Version {
		t.Errorf("the next leader gives file %d version %d after file %d version %d", next.ID, next.Version, last.ID, last.Version)
	}
	after := events(t, root, start.Version)
	if len(after) != len(before)+2 {
		t.Fatalf("a watch from version %d tells the next leader's clients %v, the last one's %v", start.Version, after, before)
	}
	for i := range before {
		if after[i] != before[i] {
			t.Errorf("event %d was %+v, now it is %+v", i, before[i], after[i])
		}
	}
	if ev := events(t, root, was.Version); len(ev) != 2 || ev[0].Name != "last" || ev[1].Name != "next" {
		t.Errorf("a watch from version %d tells %v, want last and next", was.Version, ev)
	}
}

// events is what a watch tells from a version up to now.
func events(t *testing.T, f tree.File, from uint64) (out []tree.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tctx(t), 10*time.Second)
	defer cancel()
	var end uint64
	errEnd := errors.New("end")
	if err := f.Watch(ctx, 0, func(at uint64, _ []tree.Event) error { end = at; return errEnd }); err != errEnd {
		t.Fatal(err)
	}
	if end == from {
		return nil
	}
	err := f.Watch(ctx, from, func(at uint64, ev []tree.Event) error {
		if out = append(out, ev...); at >= end {
			return errEnd
		}
		return nil
	})
	if err != errEnd {
		t.Fatalf("a watch from version %d to %d: %v, %v", from, end, err, out)
	}
	return out
}

func TestThreeCompete(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	hosts := make(map[string]*host)
	for _, n := range []string{"na", "nb", "nc"} {
		hosts[n] = newHost(t, n, nil)
	}
	for round := range 3 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := make(map[string]int)
		for name, h := range hosts {
			for range 4 {
				wg.Go(func() {
					_, err := h.Tree(ctx, realm)
					var nl *NotLeader
					leader := name
					if errors.As(err, &nl) {
						leader = nl.Node
					} else if err != nil {
						t.Error(err)
					}
					mu.Lock()
					won[leader]++
					mu.Unlock()
				})
			}
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: leaders are %v, want one", round, won)
		}
		for name := range won {
			put(t, hosts[name].root(t, realm, ""), fmt.Sprint("f", round), "x")
			hosts[name].Close()
			delete(hosts, name)
		}
	}
}

// A leader whose line to etcd is cut answers until its lease has run out on its
// own clock, and nothing afterwards; the other one takes over.
func TestFAULTS_F10_NoAnswerAfterTheLease(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	fake := clock.NewFake(time.Unix(1e9, 0))
	a := newHost(t, "na", func(c *Config) { c.Clock, c.Boottime, c.LeaseTTL = fake, fake.Monotonic, time.Second })
	b := newHost(t, "nb", nil)
	root := a.root(t, realm, "alice")
	put(t, root, "f", "old")
	h, err := root.Walk(ctx, "f")
	if err != nil {
		t.Fatal(err)
	}
	open, err := h.Open(ctx, tree.OpenMode{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	a.line.mode.Store(dropAsks)
	fake.Advance(800 * time.Millisecond)
	wantFile(t, root, "f", "old")
	fake.Advance(150 * time.Millisecond) // a second less a tenth for drift
	for call, err := range map[string]error{
		"Attr": second(root.Attr(ctx)), "Walk": second(root.Walk(ctx, "f")), "Walk to nothing": second(root.Walk(ctx, "none")), "ReadDir": second(root.ReadDir(ctx, "", 1)),
		"Open": second(h.Open(ctx, tree.OpenMode{Read: true})), "ReadAt": second(open.ReadAt(ctx, make([]byte, 1), 0)),
		"Create that would be refused": second(root.Create(ctx, "f", tree.NewFile{Mode: tree.ModeFile, Exclusive: true})),
		"Watch":                        root.Watch(ctx, 0, func(uint64, []tree.Event) error { return errors.New("told") }),
		"Attach":                       second(a.Tree(ctx, realm)),
	} {
		if call == "Attach" && err == nil {
			continue // the tree can be had; Attach on it cannot
		}
		wantKind(t, err, call+" after the lease", api.Unavailable)
	}
	put(t, b.root(t, realm, "alice"), "f", "new") // as soon as etcd's lease is over
	a.line.mode.Store(whole)
	if _, err := root.Attr(ctx); api.KindOf(err) != api.Unavailable {
		t.Errorf("the old leader answers again: %v", err)
	}
	eventually(t, "the old leader sends its clients to the new one", func() bool {
		fake.Advance(200 * time.Millisecond)
		_, err := a.Tree(ctx, realm)
		var nl *NotLeader
		return errors.As(err, &nl) && nl.Node == "nb"
	})
}

func second[T any](_ T, err error) error { return err }

// A leader that believes in its lease, because its clock stands still, cannot
// write once another leads: etcd compares the epoch.
func TestFAULTS_F10_OldEpochIsFenced(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	fake := clock.NewFake(time.Unix(1e9, 0))
	a := newHost(t, "na", func(c *Config) { c.Clock, c.Boottime, c.LeaseTTL = fake, fake.Monotonic, time.Second })
	b := newHost(t, "nb", nil)
	root := a.root(t, realm, "alice")
	put(t, root, "f", "old")
	a.line.untold.Store(true) // what etcd would say of the key does not come either
	fresh := b.root(t, realm, "alice")
	_, err := root.Put(ctx, "f", tree.Put{Data: []byte("late")})
	wantKind(t, err, "Put by the old leader", api.Unavailable)
	a.line.untold.Store(false)
	wantFile(t, fresh, "f", "old")
	put(t, fresh, "f", "new")
	wantFile(t, fresh, "f", "new")
}

// Answers to writes are lost: each is asked for again and found done, once.
func TestUnknownOutcomeIsFoundOut(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a := newHost(t, "na", func(c *Config) { c.WriteTimeout = time.Second })
	root := a.root(t, realm, "alice")
	put(t, root, "f", "")
	for i := range 3 {
		a.line.mode.Store(dropAnswers)
		done := make(chan error, 1)
		go func() {
			_, err := root.Put(ctx, "f", tree.Put{Append: true, Data: []byte(fmt.Sprint(i))})
			done <- err
		}()
		eventually(t, "a request is out", func() bool { return a.line.lost.Load() > int64(i) })
		a.line.mode.Store(whole)
		if err := <-done; err != nil {
			t.Fatalf("Put %d: %v", i, err)
		}
		wantFile(t, root, "f", "012"[:i+1])
	}
	// Refused by etcd for good, nothing happens and the term goes on.
	if st := a.tree(t, realm).term; st.isEnded() {
		t.Error("the term has ended although every outcome was found out")
	}
}

// A copy of a write that the network delivers late, after the next attempt and
// other writes, changes nothing.
func TestALateCopyOfAWriteDoesNothing(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a := newHost(t, "na", func(c *Config) { c.WriteTimeout = time.Second })
	root := a.root(t, realm, "alice")
	put(t, root, "f", "one")
	a.line.late.Store(nil)
	put(t, root, "f", "two") // by its second attempt
	late := a.line.late.Load()
	put(t, root, "f", "three")
	for range 2 {
		resp, err := etcd(t).Do(ctx, *late)
		if err != nil || resp.Txn().Succeeded {
			t.Errorf("the late copy: %v, has taken effect: %v", err, err == nil)
		}
		a.Close()
		a = newHost(t, "nb", nil) // and what etcd holds, in a later term
		wantFile(t, a.root(t, realm, "alice"), "f", "three")
	}
}

// Where the outcome cannot be found out, the leader steps down before it says
// anything more; the next term reads what happened.
func TestUnknownOutcomeEndsTheTerm(t *testing.T) {
	for _, mode := range []int32{dropAsks, dropAnswers} {
		realm, ctx := newRealm(t), tctx(t)
		a := newHost(t, "na", func(c *Config) { c.WriteTimeout = 400 * time.Millisecond })
		root := a.root(t, realm, "alice")
		put(t, root, "f", "old")
		a.line.mode.Store(mode)
		_, err := root.Put(ctx, "f", tree.Put{Data: []byte("new")})
		wantKind(t, err, "Put", api.Unavailable)
		_, err = root.Attr(ctx)
		wantKind(t, err, "Attr after a write of unknown outcome", api.Unavailable)
		a.line.mode.Store(whole)
		want := map[int32]string{dropAsks: "old", dropAnswers: "new"}[mode]
		wantFile(t, a.root(t, realm, "alice"), "f", want)
	}
}

// Without etcd, writes fail in time and say why; reads are answered meanwhile.
func TestFAULTS_F12_WithoutQuorum(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a := newHost(t, "na", func(c *Config) { c.LeaseTTL = 20 * time.Second })
	root := a.root(t, realm, "alice")
	put(t, root, "f", "x")
	a.line.mode.Store(dropAsks)
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- second(root.Put(ctx, "g", tree.Put{Create: true})) }()
	eventually(t, "the write is out", func() bool { return a.line.lost.Load() > 0 })
	wantFile(t, root, "f", "x")
	err := <-done
	if took := time.Since(began); api.KindOf(err) != api.Unavailable || took > 5*time.Second {
		t.Errorf("a write without etcd: %v after %v, want Unavailable within 5 s", err, took)
	}
	began = time.Now()
	_, err = a.Tree(ctx, realm)
	if took := time.Since(began); api.KindOf(err) != api.Unavailable || took > 5*time.Second {
		t.Errorf("Tree without etcd: %v after %v, want Unavailable within 5 s", err, took)
	}
	a.line.mode.Store(whole)
	wantFile(t, a.root(t, realm, "alice"), "f", "x")
}

// What an earlier boot of a node left is taken over at once.
func TestAnotherBootTakesOverAtOnce(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	old := newHost(t, "na", func(c *Config) { c.Boot = 7; c.LeaseTTL = 30 * time.Second })
	put(t, old.root(t, realm, ""), "f", "x")
	old.line.mode.Store(dropAsks) // as if it were dead
	for _, boot := range []uint32{6, 7} {
		h := newHost(t, "na", func(c *Config) { c.Boot = boot; c.WriteTimeout = 100 * time.Millisecond; c.LeaseTTL = time.Second })
		_, err := h.Tree(ctx, realm)
		wantKind(t, err, fmt.Sprintf("Tree of boot %d", boot), api.Unavailable)
	}
	wantFile(t, newHost(t, "na", func(c *Config) { c.Boot = 8 }).root(t, realm, ""), "f", "x")
}

func TestTermEndsWhenItsKeyIsTakenAway(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a := newHost(t, "na", nil)
	fs := a.tree(t, realm)
	watched := make(chan error, 1)
	root := a.root(t, realm, "")
	told := make(chan struct{})
	go func() {
		watched <- root.Watch(ctx, 0, func(uint64, []tree.Event) error { close(told); return nil })
	}()
	<-told
	if _, err := etcd(t).Delete(ctx, realmKeys(realm).leader()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-watched, "Watch", api.Unavailable)
	<-fs.term.ended
	if a.root(t, realm, "") == nil || a.tree(t, realm).term.epoch <= fs.term.epoch {
		t.Error("the next term has no later epoch")
	}
}

func TestDropRealm(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a, b := newHost(t, "na", nil), newHost(t, "nb", nil)
	root := a.root(t, realm, "alice")
	fs := a.tree(t, realm)
	if _, err := fs.Grant(ctx, as(realm, "alice"), time.Minute); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 150 {
				put(t, root, fmt.Sprint("f", w, "-", i), "x")
			}
		})
	}
	wg.Wait()
	if _, err := etcd(t).Delete(ctx, realmPrefix+realm); err != nil {
		t.Fatal(err)
	}
	if ids, err := b.Orphans(ctx); err != nil || len(ids) != 1 || ids[0] != realm {
		t.Errorf("Orphans: %v, %v, want %s", ids, err, realm)
	}
	for range 2 { // from another node, and once more
		if err := b.DropRealm(ctx, realm); err != nil {
			t.Fatal(err)
		}
	}
	<-fs.term.ended
	if resp, err := etcd(t).Get(ctx, string(realmKeys(realm)), clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || resp.Count != 0 {
		t.Errorf("%d keys are left, %v", resp.Count, err)
	}
	for _, h := range []*host{a, b} {
		_, err := h.Tree(ctx, realm)
		wantKind(t, err, "Tree of a realm that is gone", api.NotFound)
	}
	if ids, err := a.Orphans(ctx); err != nil || len(ids) != 0 {
		t.Errorf("Orphans: %v, %v, want none", ids, err)
	}
	wantKind(t, a.DropRealm(ctx, "../x"), "DropRealm(../x)", api.NotFound)
}
