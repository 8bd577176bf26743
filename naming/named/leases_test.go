package named

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/naming/tree"
)

// pass moves a host's clock on; its own lease in etcd is renewed meanwhile.
func (h *host) pass(t *testing.T, fake *clock.Fake, d time.Duration) {
	t.Helper()
	for ; d > 0; d -= 10 * time.Second {
		fake.Advance(min(d, 10*time.Second))
		eventually(t, "the host's lease is renewed", func() bool {
			return time.Duration(h.sess.deadline.Load())-fake.Monotonic() > 30*time.Second
		})
	}
}

// onFake is a host on a fake clock, whose lease in etcd does not run out.
func onFake(t *testing.T, name string) (*host, *clock.Fake) {
	fake := clock.NewFake(time.Unix(1e9, 0))
	return newHost(t, name, func(c *Config) { c.Clock, c.Boottime, c.LeaseTTL = fake, fake.Monotonic, time.Minute }), fake
}

func grant(t *testing.T, fs *realmFS, c api.Caller, ttl time.Duration) string {
	t.Helper()
	id, err := fs.Grant(tctx(t), c, ttl)
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	return id
}

func ephemeral(t *testing.T, dir tree.File, name, lease string) {
	t.Helper()
	if _, err := dir.Create(tctx(t), name, tree.NewFile{Mode: tree.ModeFile | 0o666, Lease: lease, Exclusive: true}); err != nil {
		t.Fatalf("Create(%q) with a lease: %v", name, err)
	}
}

func has(t *testing.T, dir tree.File, name string) bool {
	t.Helper()
	_, err := dir.Walk(tctx(t), name)
	if err != nil && api.KindOf(err) != api.NotFound {
		t.Fatal(err)
	}
	return err == nil
}

func TestLeasesRunOut(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h, fake := onFake(t, "na")
	fs, root, c := h.tree(t, realm), h.root(t, realm, "alice"), as(realm, "alice")
	short, renewed, long := grant(t, fs, c, 0), grant(t, fs, c, 3*time.Second), grant(t, fs, c, time.Hour)
	ephemeral(t, root, "short", short)
	ephemeral(t, root, "renewed", renewed)
	ephemeral(t, root, "long", long)
	put(t, root, "stays", "x")
	fake.Advance(900 * time.Millisecond)
	for _, n := range []string{"short", "renewed", "long"} {
		if !has(t, root, n) {
			t.Errorf("%s went before its lease of at least a second", n)
		}
	}
	fake.Advance(200 * time.Millisecond)
	eventually(t, "the shortest lease, of a second, ends", func() bool { return !has(t, root, "short") })
	for range 20 {
		h.pass(t, fake, 2*time.Second)
		if err := fs.Renew(ctx, c, renewed); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	if !has(t, root, "renewed") || !has(t, root, "long") {
		t.Error("a file went although its lease was renewed or is long")
	}
	h.pass(t, fake, 20*time.Second)
	eventually(t, "the renewed lease and the longest, of a minute, end", func() bool { return !has(t, root, "renewed") && !has(t, root, "long") })
	if !has(t, root, "stays") {
		t.Error("a file without a lease went")
	}
	eventually(t, "the leases are gone", func() bool {
		return api.KindOf(fs.Renew(ctx, c, renewed)) == api.NotFound && len(reload(t, realm, 1).leases) == 0
	})
}

// Another leader gives every lease a full TTL: who renewed in time loses
// nothing.
func TestLeasesAcrossALeaderChange(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a, fake := onFake(t, "na")
	c := as(realm, "alice")
	lease := grant(t, a.tree(t, realm), c, 10*time.Second)
	ephemeral(t, a.root(t, realm, "alice"), "e", lease)
	fake.Advance(9 * time.Second)
	a.Close()
	b, fake := onFake(t, "nb")
	fs, root := b.tree(t, realm), b.root(t, realm, "alice")
	fake.Advance(9 * time.Second)
	if !has(t, root, "e") {
		t.Error("the next leader did not give the lease its full time")
	}
	if err := fs.Renew(ctx, c, lease); err != nil {
		t.Errorf("Renew at the next leader: %v", err)
	}
	fake.Advance(9 * time.Second)
	if !has(t, root, "e") {
		t.Error("a lease renewed at the next leader ended early")
	}
	fake.Advance(2 * time.Second)
	eventually(t, "the lease ends at the next leader", func() bool { return !has(t, root, "e") })
}

// A leader that did not run for a while heard no renewals: it must not take
// every lease for over (the class of etcd#15247).
func TestFAULTS_F13_NoMassRevocationAfterAStall(t *testing.T) {
	realm := newRealm(t)
	fake := clock.NewFake(time.Unix(1e9, 0))
	var skip atomic.Int64 // how far the boot clock is ahead: a pause that timers did not see
	h := newHost(t, "na", func(c *Config) {
		c.Clock, c.LeaseTTL, c.Boottime = fake, time.Minute, func() time.Duration { return fake.Monotonic() + time.Duration(skip.Load()) }
	})
	fs, root, c := h.tree(t, realm), h.root(t, realm, "alice"), as(realm, "alice")
	for i := range 10 {
		ephemeral(t, root, fmt.Sprint("e", i), grant(t, fs, c, 2*time.Second))
	}
	term := fs.term
	skip.Store(int64(10 * time.Second))
	fake.Advance(2100 * time.Millisecond)
	eventually(t, "the leases are extended", func() bool {
		term.mu.RLock()
		defer term.mu.RUnlock()
		for _, l := range term.st.leases {
			if l.ending || l.deadline < term.now() {
				return false
			}
		}
		return true
	})
	for i := range 10 {
		if !has(t, root, fmt.Sprint("e", i)) {
			t.Errorf("e%d went in a pause of the leader", i)
		}
	}
}

// A lease with more files than one transaction takes goes all the same.
func TestALeaseWithManyFiles(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h := newHost(t, "na", nil)
	fs, root, c := h.tree(t, realm), h.root(t, realm, "alice"), as(realm, "alice")
	lease := grant(t, fs, c, time.Minute)
	for i := range 5*revokeStep + 1 {
		dir := root
		if i%3 == 0 {
			dir = mkdir(t, root, fmt.Sprint("d", i), 0o755)
		}
		ephemeral(t, dir, fmt.Sprint("e", i), lease)
	}
	if err := fs.Revoke(ctx, c, lease); err != nil {
		t.Fatal(err)
	}
	st := reload(t, realm, 1)
	if want := int64(2*revokeStep - revokeStep/3 + 1); len(st.leases) != 0 || st.files != want {
		t.Errorf("after Revoke there are %d leases and %d files, want 0 and %d directories", len(st.leases), st.files, want)
	}
}

func proc(realm, user, id string) api.Caller {
	c := as(realm, user)
	c.Proc = api.ProcID(id)
	return c
}

func attach(t *testing.T, fs tree.FS, c api.Caller, aname string, fence *tree.Fence) tree.File {
	t.Helper()
	f, err := fs.Attach(tctx(t), c, aname, fence)
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	return f
}

// What a proc shows with its lease nobody else touches: another proc of the
// same user neither, whatever the mode; and it goes when the proc does.
func TestPROBES_N27_EphemeralFilesAreTheirProcs(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h := newHost(t, "na", nil)
	fs := h.tree(t, realm)
	mine, other := proc(realm, "alice", "p-1"), proc(realm, "alice", "p-2")
	lease := grant(t, fs, mine, time.Minute)
	root, theirs := attach(t, fs, mine, "", nil), attach(t, fs, other, "", nil)
	ephemeral(t, root, "e", lease)
	put(t, theirs, "o", "x")
	e, err := theirs.Walk(ctx, "e")
	if err != nil {
		t.Fatal(err)
	}
	size, user, perm := int64(0), "alice", uint32(0o600)
	for call, err := range map[string]error{
		"Remove":          theirs.Remove(ctx, "e", false),
		"Rename away":     theirs.Rename(ctx, "e", theirs, "x"),
		"Rename over":     theirs.Rename(ctx, "o", theirs, "e"),
		"Put":             second(theirs.Put(ctx, "e", tree.Put{Data: []byte("x")})),
		"Open to write":   second(e.Open(ctx, tree.OpenMode{Write: true})),
		"SetAttr size":    second(e.SetAttr(ctx, tree.SetAttr{Size: &size})),
		"SetAttr perm":    second(e.SetAttr(ctx, tree.SetAttr{Perm: &perm})),
		"SetAttr owner":   second(e.SetAttr(ctx, tree.SetAttr{Owner: &user})),
		"Attr (is right)": second(e.Attr(ctx)),
	} {
		want := api.Denied
		if call == "Attr (is right)" {
			want = ""
		}
		wantKind(t, err, call+" by another proc of the user", want)
	}
	wantKind(t, second(theirs.Create(ctx, "s", tree.NewFile{Mode: tree.ModeFile, Lease: lease})), "Create with its lease", api.NotFound)
	wantKind(t, fs.Renew(ctx, other, lease), "Renew by another proc", api.NotFound)
	wantKind(t, fs.Revoke(ctx, other, lease), "Revoke by another proc", api.NotFound)
	if _, err := root.Put(ctx, "e", tree.Put{Data: []byte("mine")}); err != nil {
		t.Errorf("Put by its proc: %v", err)
	}
	if err := h.ProcEnded(ctx, realm, "p-2"); err != nil || !has(t, root, "e") {
		t.Errorf("the end of another proc: %v, the file is there: %v", err, has(t, root, "e"))
	}
	if err := h.ProcEnded(ctx, realm, "p-1"); err != nil || has(t, theirs, "e") {
		t.Errorf("the end of its proc: %v, the file is there: %v", err, has(t, theirs, "e"))
	}
	wantKind(t, fs.Renew(ctx, mine, lease), "Renew after the proc's end", api.NotFound)
}

func TestProcEndedLeadsNoRealmForNothing(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	a := newHost(t, "na", nil)
	if err := a.ProcEnded(ctx, realm, "p-1"); err != nil {
		t.Error(err)
	}
	if n, err := a.Leader(ctx, realm); n != "" || err != nil {
		t.Errorf("Leader: %q, %v", n, err)
	}
	b := newHost(t, "nb", nil)
	fs := b.tree(t, realm)
	ephemeral(t, attach(t, fs, proc(realm, "u", "p-1"), "", nil), "e", grant(t, fs, proc(realm, "u", "p-1"), time.Minute))
	leads(t, a.ProcEnded(ctx, realm, "p-1"), "nb")
	b.Close()
	if err := a.ProcEnded(ctx, realm, "p-1"); err != nil || has(t, a.root(t, realm, ""), "e") {
		t.Errorf("ProcEnded at the next leader: %v", err)
	}
}

// The election of a tenant: an ephemeral file made exclusively; its fence is
// the version that made it.
func TestFencesFollowTheElection(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h := newHost(t, "na", nil)
	fs := h.tree(t, realm)
	win := func(c api.Caller) (tree.File, tree.Fence, string) {
		t.Helper()
		lease := grant(t, fs, c, time.Minute)
		a, err := attach(t, fs, c, "/mr", nil).Put(ctx, "leader", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644, Lease: lease, Exclusive: true}, Create: true})
		if err != nil {
			t.Fatalf("Put: %v", err)
		}
		f := tree.Fence{Path: "/mr/leader", Epoch: a.Version}
		return attach(t, fs, c, "/mr", &f), f, lease
	}
	mkdir(t, attach(t, fs, as(realm, ""), "", nil), "mr", 0o777)
	c1, c2 := proc(realm, "alice", "p-1"), proc(realm, "alice", "p-2")
	dir, fence, lease := win(c1)
	put(t, dir, "state", "1")
	put(t, dir, "leader", "host:1") // its content may change; the term is the same
	f, err := dir.Walk(ctx, "state")
	if err != nil {
		t.Fatal(err)
	}
	open, err := f.Open(ctx, tree.OpenMode{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.CheckFence(ctx, realm, fence); err != nil {
		t.Errorf("CheckFence of the term: %v", err)
	}
	refused := func(when string) {
		t.Helper()
		perm := uint32(0o600)
		for call, err := range map[string]error{
			"Create": second(dir.Create(ctx, "x", tree.NewFile{Mode: tree.ModeFile | 0o644})), "Put": second(dir.Put(ctx, "state", tree.Put{Data: []byte("x")})),
			"Remove": dir.Remove(ctx, "state", false), "Rename": dir.Rename(ctx, "state", dir, "x"), "SetAttr": second(f.SetAttr(ctx, tree.SetAttr{Perm: &perm})),
			"Open that truncates": second(f.Open(ctx, tree.OpenMode{Write: true, Truncate: true})), "WriteAt": second(open.WriteAt(ctx, []byte("x"), 0)),
			"CheckFence": h.CheckFence(ctx, realm, fence),
		} {
			wantKind(t, err, call+" "+when, api.Conflict)
		}
		wantFile(t, dir, "state", "1")
	}
	if err := fs.Revoke(ctx, c1, lease); err != nil {
		t.Fatal(err)
	}
	refused("after the term")
	next, nextFence, _ := win(c2)
	refused("while another leads")
	put(t, next, "state2", "2")
	if nextFence.Epoch <= fence.Epoch {
		t.Errorf("the next term is %d, after %d", nextFence.Epoch, fence.Epoch)
	}
	for _, bad := range []tree.Fence{{Path: "/", Epoch: 1}, {Path: "/mr", Epoch: nextFence.Epoch}, {Path: "/none/x", Epoch: 1}, {Path: "/mr/leader/x", Epoch: nextFence.Epoch}} {
		wantKind(t, h.CheckFence(ctx, realm, bad), fmt.Sprintf("CheckFence(%v)", bad), api.Conflict)
	}
	wantKind(t, h.CheckFence(ctx, realm, tree.Fence{Path: "/a/../b", Epoch: 1}), "CheckFence with dots", api.Invalid)
	_, err = fs.Attach(ctx, c1, "", &tree.Fence{Path: "/x\x00"})
	wantKind(t, err, "Attach with a fence at no path", api.Invalid)
}

// A watcher of an election's directory hears that the file has gone, in order.
func TestElectionsCanBeWaitedFor(t *testing.T) {
	realm := newRealm(t)
	h, fake := onFake(t, "na")
	fs := h.tree(t, realm)
	c := proc(realm, "alice", "p-1")
	root := attach(t, fs, c, "", nil)
	ephemeral(t, root, "leader", grant(t, fs, c, 5*time.Second))
	ctx, cancel := context.WithCancel(tctx(t))
	defer cancel()
	gone := make(chan tree.Event, 1)
	ready := make(chan struct{})
	go root.Watch(ctx, 0, func(_ uint64, ev []tree.Event) error {
		if len(ev) == 0 {
			close(ready)
			return nil
		}
		gone <- ev[0]
		return nil
	})
	<-ready
	fake.Advance(6 * time.Second)
	if e := <-gone; e.Kind != tree.Removed || e.Name != "leader" {
		t.Errorf("the watcher hears %+v", e)
	}
}

// While the outcome of a write is not known, nothing is answered, renewals
// neither: leases must not end for that.
func TestFAULTS_F13_NoRevocationWhileEtcdIsSlow(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h, fake := onFake(t, "na")
	fs, root, c := h.tree(t, realm), h.root(t, realm, "alice"), as(realm, "alice")
	lease := grant(t, fs, c, 2*time.Second)
	ephemeral(t, root, "e", lease)
	h.line.mode.Store(dropAnswers)
	done := make(chan error, 1)
	go func() { done <- second(root.Put(ctx, "f", tree.Put{Create: true})) }()
	eventually(t, "the write's outcome is unknown", func() bool { return fs.term.unsettled.Load() != nil })
	renewed := make(chan error, 1)
	go func() { renewed <- fs.Renew(ctx, c, lease) }()
	fake.Advance(3 * time.Second)
	h.line.mode.Store(whole)
	if err := <-done; err != nil {
		t.Fatalf("Put: %v", err)
	}
	if err := <-renewed; err != nil || !has(t, root, "e") {
		t.Errorf("Renew after the silence: %v; the file is there: %v", err, has(t, root, "e"))
	}
}
