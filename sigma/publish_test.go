package sigma

import (
	"errors"
	"io/fs"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

// leased is a tree whose leases run out when the test says so, and a program's names
// in it.
type leased struct {
	n *Names

	mu  sync.Mutex
	end func() // of the lease
}

func newLeased(t *testing.T) *leased {
	t.Helper()
	l := new(leased)
	p := newPeers(t)
	m := memfs.New(memfs.Options{Mode: 0o777, After: func(_ time.Duration, end func()) func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.end = end
		return func() bool { return true }
	}})
	p.fs = m
	l.n = newNames(nil, nil)
	l.n.servers = newServers(p.dial, nil)
	l.n.published.keeping = true // by the test's turns
	t.Cleanup(func() { l.n.Close(); m.Close() })
	return l
}

func (l *leased) publish(t *testing.T, path string, ep Endpoint) {
	t.Helper()
	if err := l.n.published.publish(t.Context(), path, ep); err != nil {
		t.Fatal(err)
	}
}

// lose ends the lease.
func (l *leased) lose() {
	l.mu.Lock()
	end := l.end
	l.mu.Unlock()
	end()
}

// turn is one of the upkeep.
func (l *leased) turn(t *testing.T) {
	t.Helper()
	if err := l.n.published.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.n.published.mend(t.Context())
}

// leads checks where path leads; "" is nowhere.
func (l *leased) leads(t *testing.T, when, path string, want Endpoint) {
	t.Helper()
	i, err := l.n.Lstat(t.Context(), path)
	if api.KindOf(err) == api.NotFound {
		i, err = Info{}, nil
	}
	if err != nil || i.Attr.Target != string(want) {
		t.Errorf("%s: %s leads to %q, %v; want %q", when, path, i.Attr.Target, err, want)
	}
}

// A name that could not be taken away is kept on, and comes back after its lease was
// lost; one that was is forgotten, however its path is written.
func TestAFailedRemoveLeavesTheUpkeep(t *testing.T) {
	l := newLeased(t)
	locked := func(take func(path string) error) func(string) error { // nothing can be removed there
		return func(path string) error {
			chmod := func(perm fs.FileMode) {
				if err := l.n.Chmod(t.Context(), "/d", perm); err != nil {
					t.Error(err)
				}
			}
			chmod(0o555)
			defer chmod(0o777)
			return take(path)
		}
	}
	lost := func(take func(path string) error) func(string) error { // it is missing by then
		return func(path string) error {
			l.lose()
			return take(path)
		}
	}
	for _, tt := range []struct {
		name string
		take func(path string) error
		gone bool
	}{
		{"Remove fails", locked(func(path string) error { return l.n.Remove(t.Context(), path) }), false},
		{"RemoveAll fails", locked(func(path string) error { return l.n.RemoveAll(t.Context(), path) }), false},
		{"Rename fails", func(path string) error { return l.n.Rename(t.Context(), path, "/none/x") }, false},
		{"Remove", func(path string) error { return l.n.Remove(t.Context(), path) }, true},
		{"Remove by another spelling", func(path string) error { return l.n.Remove(t.Context(), "/d/.."+path+"/") }, true},
		{"RemoveAll", func(path string) error { return l.n.RemoveAll(t.Context(), path) }, true},
		{"RemoveAll of the directory", func(string) error { return l.n.RemoveAll(t.Context(), "/d") }, true},
		{"Remove of what is missing", lost(func(path string) error { return unlessGone(l.n.Remove(t.Context(), path)) }), true},
		{"RemoveAll of what is missing", lost(func(path string) error { return l.n.RemoveAll(t.Context(), path) }), true},
		{"Remove of the directory that it is missing from", lost(func(string) error { return l.n.Remove(t.Context(), "/d") }), true},
		{"RemoveAll of the directory that it is missing from", lost(func(string) error { return l.n.RemoveAll(t.Context(), "/d/") }), true},
		{"RemoveAll of a directory that went with it", lost(func(string) error {
			return errors.Join(l.n.remove(t.Context(), "/d", true), l.n.RemoveAll(t.Context(), "/d"))
		}), true},
		{"Rename", func(path string) error { return l.n.Rename(t.Context(), path, "/d/y") }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := l.n.MkdirAll(t.Context(), "/d", 0o777); err != nil {
				t.Fatal(err)
			}
			l.publish(t, "/d/x", "ep1-x")
			if err := tt.take("/d/x"); (err == nil) != tt.gone {
				t.Fatalf("it was not as wanted: %v", err)
			}
			if err := l.n.MkdirAll(t.Context(), "/d", 0o777); err != nil {
				t.Fatal(err)
			}
			l.lose()
			l.turn(t)
			want := Endpoint("ep1-x")
			if tt.gone {
				want = ""
			}
			l.leads(t, "after the lease was lost", "/d/x", want)
			l.n.published.links = nil
		})
	}
}

// What the upkeep finds at a name of an earlier endpoint is that of the one that was
// published since, which is kept.
func TestAnOlderTurnLeavesWhatWasPublishedSince(t *testing.T) {
	l := newLeased(t)
	p := &l.n.published
	l.publish(t, "/x", "ep1-old")
	old := p.links["/x"]
	l.publish(t, "/x", "ep1-new")
	p.forget("/x", old)
	if p.made("/x", old, p.lease); p.links["/x"] == nil || p.links["/x"].missing {
		t.Error("the new one is not kept")
	}
	l.lose()
	l.turn(t)
	l.leads(t, "after the lease was lost", "/x", "ep1-new")
	// Somebody else's stays.
	if err := l.n.Remove(t.Context(), "/x"); err != nil {
		t.Fatal(err)
	}
	l.publish(t, "/x", "ep1-new")
	l.lose()
	if err := l.n.make(t.Context(), "/x", tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Exclusive: true, Target: "ep1-other"}); err != nil {
		t.Fatal(err)
	}
	l.turn(t)
	l.leads(t, "with another's there", "/x", "ep1-other")
	if len(p.links) != 0 {
		t.Error("it is kept on")
	}
}

// A name that is made again while it is being taken away does not stay, and where the
// taking failed it comes.
func TestANameMadeWhileItIsTakenAway(t *testing.T) {
	l := newLeased(t)
	p := &l.n.published
	l.publish(t, "/x", "ep1-x")
	x := p.links["/x"]
	x.missing = true
	done := p.going("/x")
	if p.made("/x", x, p.lease) {
		t.Error("it stays beside a Remove that is under way")
	}
	l.lose()
	l.turn(t)
	l.leads(t, "while it is taken away", "/x", "")
	done(false)
	l.turn(t)
	l.leads(t, "after that failed", "/x", "ep1-x")
	if x.missing {
		t.Error("it counts as missing")
	}
	p.going("/x")(true)
	if p.made("/x", x, p.lease) {
		t.Error("it stays after it was taken away")
	}
}

// What the upkeep made beside a Remove is taken away by what it is, not by its name.
func TestUnmakeLeavesWhatCameSince(t *testing.T) {
	l := newLeased(t)
	file := func(ep string) tree.NewFile {
		return tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Exclusive: true, Target: ep}
	}
	ours, err := l.n.create(t.Context(), "/x", file("ep1-x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.n.Remove(t.Context(), "/x"); err != nil {
		t.Fatal(err)
	}
	again, err := l.n.create(t.Context(), "/x", file("ep1-x"))
	if err != nil {
		t.Fatal(err)
	}
	l.n.published.unmake(t.Context(), "/x", ours.ID)
	l.leads(t, "after what was made before it was unmade", "/x", "ep1-x")
	l.n.published.unmake(t.Context(), "/x", again.ID)
	l.leads(t, "after it was unmade", "/x", "")
}

// What is not below the directory that was removed is kept.
func TestRemoveAllForgetsNothingElse(t *testing.T) {
	l := newLeased(t)
	for _, dir := range []string{"/d", "/d/s", "/real"} {
		if err := l.n.Mkdir(t.Context(), dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.n.Symlink(t.Context(), "/real", "/link"); err != nil {
		t.Fatal(err)
	}
	l.publish(t, "/d/sx", "ep1-x")
	l.publish(t, "/link/y", "ep1-y")
	for _, path := range []string{"/d/s", "/link"} {
		l.lose()
		if err := l.n.RemoveAll(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.n.Symlink(t.Context(), "/real", "/link"); err != nil {
		t.Fatal(err)
	}
	l.turn(t)
	l.leads(t, "after a directory of nearly that name went", "/d/sx", "ep1-x")
	l.leads(t, "after the symbolic link went that it was published through", "/real/y", "ep1-y")
}
