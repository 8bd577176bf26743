package ux

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// A term that was shut out stays so over a restart.
func TestFAULTS_F10_FencesArePersisted(t *testing.T) {
	s := start(t, Config{})
	s.fenced("alice", &tree.Fence{Path: "/leader", Epoch: 8}).put("f", "new")
	s = s.again()
	old := s.fenced("alice", &tree.Fence{Path: "/leader", Epoch: 7})
	_, err := old.Put(ctx, "f", tree.Put{Data: []byte("old")})
	kind(t, err, api.Conflict, "/leader", "term 8")
	old.has("f", "new")
	s.fenced("alice", &tree.Fence{Path: "/leader", Epoch: 8}).put("f", "same term")
	s.fenced("alice", &tree.Fence{Path: "/other", Epoch: 1}).put("f", "another election")
	other, err := s.FS().Attach(ctx, caller("r2", "alice"), "", &tree.Fence{Path: "/leader", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	(&dir{t, other}).put("f", "another realm's election of this name")
}

// CheckFence is asked for every write, and only a term that it confirms shuts
// out others: nobody can depose a leader by claiming a high number.
func TestCheckFence(t *testing.T) {
	var mu sync.Mutex
	holds := map[uint64]bool{7: true}
	asked := 0
	s := start(t, Config{CheckFence: func(_ context.Context, realm string, f tree.Fence) error {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if realm != "r1" || f.Path != "/leader" {
			t.Errorf("CheckFence is asked for %q %+v", realm, f)
		}
		if holds[f.Epoch] {
			return nil
		}
		return api.E(api.Conflict, "fence", f.Path, "term %d is over", f.Epoch)
	}})
	leader := s.fenced("alice", &tree.Fence{Path: "/leader", Epoch: 7})
	liar := s.fenced("mallory", &tree.Fence{Path: "/leader", Epoch: 1 << 60})
	leader.put("f", "led")
	liar.has("f", "led")
	_, err := liar.Put(ctx, "f", tree.Put{Data: []byte("x")})
	kind(t, err, api.Conflict, "is over")
	h := leader.open("f", rw)
	leader.put("f", "still led")
	mu.Lock()
	holds[7] = false
	before := asked
	mu.Unlock()
	_, err = h.WriteAt(ctx, []byte("x"), 0)
	kind(t, err, api.Conflict)
	_, err = h.(tree.Attrs).SetAttr(ctx, tree.SetAttr{Size: new(int64)})
	kind(t, err, api.Conflict)
	kind(t, leader.Remove(ctx, "f", false), api.Conflict)
	kind(t, leader.Rename(ctx, "f", leader.File, "g"), api.Conflict)
	_, err = leader.Create(ctx, "n", tree.NewFile{Mode: tree.ModeFile | 0o600})
	kind(t, err, api.Conflict)
	if asked-before != 5 {
		t.Errorf("CheckFence was asked %d times for 5 writes", asked-before)
	}
	if got := content(t, h); got != "still led" {
		t.Errorf("a deposed leader reads %q", got)
	}
}

// Once a write of a later term has returned, none of an earlier one is done.
func TestFencedWritesDoNotOvertake(t *testing.T) {
	s := start(t, Config{})
	s.as("alice").put("f", "0")
	for round := uint64(1); round < 30; round++ {
		old := s.fenced("alice", &tree.Fence{Path: "/l", Epoch: 2 * round})
		f := old.open("f", rw)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					if _, err := f.WriteAt(ctx, []byte("old"), 0); err != nil {
						kind(t, err, api.Conflict)
						return
					}
				}
			})
		}
		now := s.fenced("alice", &tree.Fence{Path: "/l", Epoch: 2*round + 1})
		now.put("f", "now")
		now.has("f", "now")
		wg.Wait()
		now.has("f", "now")
	}
}

// The same, at the place where it matters: a write that was admitted holds the
// next term up.
func TestAdmittedWriteHoldsTheNextTermUp(t *testing.T) {
	s := start(t, Config{})
	s.as("alice").put("f", "0")
	h := s.fenced("alice", &tree.Fence{Path: "/l", Epoch: 1}).open("f", rw)
	r, err := s.realm(ctx, "r1", false)
	if err != nil {
		t.Fatal(err)
	}
	n, term := h.(*handle).n, r.fences.term("/l")
	n.content.Lock() // the disk is slow
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := h.WriteAt(ctx, []byte("old"), 0); err != nil {
			t.Errorf("the write of the old term: %v", err)
		}
	})
	for begun := time.Now(); term.mu.TryLock(); runtime.Gosched() {
		term.mu.Unlock()
		if time.Since(begun) > 10*time.Second {
			t.Fatal("a write under way does not hold its term")
		}
	}
	wg.Go(func() { s.fenced("alice", &tree.Fence{Path: "/l", Epoch: 2}).put("f", "now") })
	n.content.Unlock()
	wg.Wait()
	s.as("alice").has("f", "now")
}

// Elections come and go; their number is bounded.
func TestFencesAreBounded(t *testing.T) {
	var f fences
	f.terms = make(map[string]*term)
	held := f.term("/held")
	held.mu.RLock()
	for i := range maxFences + 10 {
		f.term(fmt.Sprint("/", i))
	}
	if len(f.terms) != maxFences || len(f.order) != maxFences {
		t.Errorf("%d elections are known (%d in order), want %d", len(f.terms), len(f.order), maxFences)
	}
	if f.terms["/held"] != held || f.terms["/0"] != nil {
		t.Errorf("the one in use must stay, the oldest other go")
	}
}

func TestDamagedFences(t *testing.T) {
	s := start(t, Config{})
	s.fenced("alice", &tree.Fence{Path: "/l", Epoch: 1}).put("f", "x")
	s.Close()
	if err := os.WriteFile(s.dir+"/realms/r1/fences", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, Config{Dir: s.dir})
	_, err := s.FS().Attach(ctx, caller("r1", "alice"), "", nil)
	kind(t, err, api.Internal, "fences is damaged")
	for _, bad := range []*tree.Fence{{Path: "", Epoch: 1}, {Path: "/l"}, {Path: repeat("/x", tree.MaxPath+1), Epoch: 1}} {
		_, err := s.FS().Attach(ctx, caller("r2", "alice"), "", bad)
		kind(t, err, api.Invalid)
	}
}
