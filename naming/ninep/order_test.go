package ninep

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
)

// A client need not wait for one answer before the next request.
func TestRequestsWithoutWaiting(t *testing.T) {
	g, came, open := holding(t, "walk")
	r := start(t, caller("alice"), g, Options{}, versionPlain)
	const rounds = 50
	for i := range uint16(rounds) {
		tag := 10 * (i + 1)
		r.send(tag, tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"dir", "file"}})
		r.send(tag+1, tLopen, &lopen{1, oReadOnly})
		r.send(tag+2, tRead, &read{span{1, 0, 100}})
		r.send(tag+3, tRead, &read{span{1, 1, 100}})
		r.send(tag+4, tClunk, &clunk{onFid{1}})
	}
	<-came // the first walk is under way, all others wait
	close(open)
	got := make(map[uint16]string)
	for range rounds * 5 {
		tag, m := r.recv()
		got[tag] = text(m)
	}
	for i := range uint16(rounds) {
		tag := 10 * (i + 1)
		for j, want := range []string{"rwalk", "opened", `rdata{Data:"hello"}`, `rdata{Data:"ello"}`, "empty{}"} {
			if s := got[tag+uint16(j)]; len(s) < len(want) || s[:len(want)] != want {
				t.Fatalf("round %d: answer %d is %s, want %s", i, j, s, want)
			}
		}
	}
}

// The end of a fid waits for what came before on it.
func TestClunkWaitsForReads(t *testing.T) {
	g, came, open := holding(t, "read")
	r := start(t, caller("alice"), g, Options{}, versionPlain)
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"dir", "file"}})
	r.ask(1, tLopen, &lopen{1, oReadOnly})
	r.send(2, tRead, &read{span{1, 0, 100}})
	<-came
	r.send(3, tClunk, &clunk{onFid{1}})
	if m, want := r.ask(4, tGetattr, &getattr{1, 0}), (lerror{9}); text(m) != text(&want) {
		t.Errorf("a request behind Tclunk is answered %s, want %s", text(m), text(&want))
	}
	if n := g.get(&g.handles); n != 1 {
		t.Errorf("while a read is under way %d files are open, want 1", n)
	}
	close(open)
	for _, want := range []uint16{2, 3} {
		if tag, m := r.recv(); tag != want {
			t.Errorf("tag %d %s came where %d was to", tag, text(m), want)
		}
	}
	if n := g.get(&g.handles); n != 0 {
		t.Errorf("after Tclunk %d files are open", n)
	}
}

// The queue against what it stands for: of two requests on a fid, of which one
// owns it, the later begins when the earlier has ended.
func TestQueueKeepsOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var mu sync.Mutex
		var q queue
		type span struct{ begin, end int }
		n := 2 + rnd.IntN(12)
		owner, canceled, spans := make([]bool, n), make([]bool, n), make([]span, n)
		clock := 0
		tick := func() int {
			mu.Lock()
			defer mu.Unlock()
			clock++
			return clock
		}
		var wg sync.WaitGroup
		for i := range n {
			owner[i], canceled[i] = rnd.IntN(3) == 0, rnd.IntN(4) == 0
			mu.Lock()
			turn := q.shareLocked
			if owner[i] {
				turn = q.ownLocked
			}
			tn := turn()
			mu.Unlock()
			wg.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				if canceled[i] {
					cancel()
				}
				defer cancel()
				err := tn.wait(ctx)
				if err == nil {
					canceled[i] = false
					spans[i].begin = tick()
					spans[i].end = tick()
				} else if owner[i] {
					tn.wait(context.Background())
				}
				mu.Lock()
				tn.leaveLocked()
				mu.Unlock()
			})
		}
		wg.Wait()
		for i := range n {
			for j := i + 1; j < n; j++ {
				if (owner[i] || owner[j]) && !canceled[i] && !canceled[j] && spans[j].begin < spans[i].end {
					t.Fatalf("round %d: request %d (owns: %v) began at %d, before %d (owns: %v) ended at %d", round, j, owner[j], spans[j].begin, i, owner[i], spans[i].end)
				}
			}
		}
		if q.last != nil || q.readers != nil && q.readers.n != 0 {
			t.Fatalf("round %d: something is left in the queue: %+v", round, q)
		}
	}
}

// A flush cancels what is under way; the answer comes first, then Rflush.
func TestFlush(t *testing.T) {
	g, came, open := holding(t, "read")
	r := start(t, caller("alice"), g, Options{}, versionPlain)
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"dir", "file"}})
	r.ask(1, tLopen, &lopen{1, oReadOnly})
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 2, Names: []string{"dir", "file"}})
	wants := func(what string, tag uint16, m message) {
		t.Helper()
		if got, a := r.recv(); got != tag || a == nil || text(a) != text(m) {
			t.Fatalf("%s: tag %d %s, want tag %d %s", what, got, text(a), tag, text(m))
		}
	}
	r.send(2, tFlush, &flush{Old: 77})
	wants("flush of nothing", 2, &empty{})
	r.send(2, tRead, &read{span{1, 0, 10}})
	<-came
	r.send(3, tFlush, &flush{Old: 2})
	wants("a flushed read", 2, &lerror{Errno: 125})
	wants("its flush", 3, &empty{})
	if n := g.get(&g.canceled); n != 1 {
		t.Errorf("%d operations saw their context end, want 1", n)
	}

	// One that waits for its turn is answered at once, and overtakes nobody.
	r.send(4, tRead, &read{span{1, 0, 10}})
	<-came
	r.send(5, tClunk, &clunk{onFid{1}})
	r.send(6, tWalk, &walk{Fid: 2, NewFid: 2, Names: nil})
	wants("a request on another fid", 6, &rwalk{Qids: []qid{}})
	r.send(7, tFlush, &flush{Old: 5})
	r.send(8, tFlush, &flush{Old: 4})
	wants("the flushed read", 4, &lerror{Errno: 125})
	seen := map[uint16]bool{}
	for range 3 { // Tclunk ends the fid, flushed or not
		tag, m := r.recv()
		if text(m) != "empty{}" || tag == 7 && !seen[5] {
			t.Errorf("tag %d is answered %s, behind %v", tag, text(m), seen)
		}
		seen[tag] = true
	}
	close(open)
	if m := r.ask(9, tClunk, &clunk{onFid{1}}); text(m) != text(&lerror{Errno: 9}) {
		t.Errorf("the fid of a flushed Tclunk: %s", text(m))
	}
}

// What waits behind a request that hangs can be given up, and its number used
// again at once.
func TestFlushOfWaiting(t *testing.T) {
	g, came, open := holding(t, "open")
	r := start(t, caller("alice"), g, Options{}, versionPlain)
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"dir", "file"}})
	r.send(2, tLopen, &lopen{1, oReadOnly}) // hangs, and owns fid 1
	<-came
	r.send(3, tWalk, &walk{Fid: 1, NewFid: 5})
	r.send(4, tFlush, &flush{Old: 3})
	for _, want := range []uint16{3, 4} {
		if tag, m := r.recv(); tag != want {
			t.Fatalf("tag %d %s, want %d", tag, text(m), want)
		}
	}
	if m := r.ask(3, tWalk, &walk{Fid: 0, NewFid: 5}); text(m) != text(&rwalk{Qids: []qid{}}) {
		t.Errorf("the fid that a flushed walk was to make: %s", text(m))
	}
	close(open)
	if tag, m := r.recv(); tag != 2 {
		t.Errorf("tag %d %s, want the open", tag, text(m))
	}
}
