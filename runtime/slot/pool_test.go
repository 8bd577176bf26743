package slot

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"sigmaos/runtime/cgroup"
)

func (e *env) pool(cfg PoolConfig) *Pool {
	e.t.Helper()
	p := NewPool(cfg, e.maker, func() (Binfs, error) { return e.holder, nil })
	e.t.Cleanup(p.Close)
	return p
}

// get waits for a slot.
func (e *env) get(p *Pool, realm string) *Slot {
	e.t.Helper()
	s, err := e.try(p, realm, 10*time.Second)
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

var errNoSlot = errors.New("no slot in time")

func (e *env) try(p *Pool, realm string, within time.Duration) (*Slot, error) {
	type answer struct {
		s   *Slot
		err error
	}
	got := make(chan answer, 1)
	p.Get(realm, cgroup.BE, 64, func(s *Slot, err error) { got <- answer{s, err} })
	select {
	case a := <-got:
		return a.s, a.err
	case <-time.After(within):
		return nil, errNoSlot
	}
}

func TestPoolLendsTheOneThatRestedLongest(t *testing.T) {
	e := newEnv(t, landlock())
	p := e.pool(PoolConfig{})
	a, b := e.get(p, testRealm), e.get(p, testRealm)
	if a == b {
		t.Fatal("one slot is lent twice")
	}
	p.Put(b)
	p.Put(a)
	if s := e.get(p, testRealm); s != b {
		t.Error("not the one that rested longest")
	}
	if s := e.get(p, testRealm); s != a {
		t.Error("nor then the other")
	}
	if n := p.Count(testRealm); n != 2 {
		t.Errorf("%d slots", n)
	}
	p.Put(a)
	p.Put(b)
	// Never across realms or classes.
	if s := e.get(p, "realm-b"); s == a || s == b || s.Realm() != "realm-b" {
		t.Error("a slot went to another realm")
	}
	got := make(chan *Slot, 1)
	p.Get(testRealm, cgroup.LC, 64, func(s *Slot, err error) { got <- s })
	if s := <-got; s == a || s == b || s.Class() != cgroup.LC {
		t.Error("a slot went to another class")
	}
}

// A spoilt slot is not lent again, and whoever waits gets a new one.
func TestPoolDropsWhatIsNotUsable(t *testing.T) {
	e := newEnv(t, landlock())
	p := e.pool(PoolConfig{})
	s := e.get(p, testRealm)
	s.spoil()
	p.Put(s)
	<-s.Gone()
	idle := e.get(p, testRealm)
	p.Put(idle)
	idle.spoil() // while it rests
	if got := e.get(p, testRealm); got == idle {
		t.Error("a spoilt slot is lent")
	}
	<-idle.Gone()
}

// When binfs was replaced, slots on its mount go: those that rest at once, the
// others when their procs end.
func TestFAULTS_F18_PoolDropsSlotsOfADeadMount(t *testing.T) {
	e := newEnv(t, landlock())
	p := e.pool(PoolConfig{})
	busy, idle := e.get(p, testRealm), e.get(p, testRealm)
	p.Put(idle)
	p.Rebuild(e.holder)
	<-idle.Gone()
	select {
	case <-busy.Gone():
		t.Error("a slot in use is gone")
	case <-time.After(50 * time.Millisecond):
	}
	p.Put(busy)
	<-busy.Gone()
	if s := e.get(p, testRealm); s == busy || s == idle {
		t.Error("a slot of the dead mount is lent")
	}
}

// lostMount is a mount whose process has ended and been closed.
type lostMount struct{ was Binfs }

func (m lostMount) Binfs() string { return m.was.Binfs() }

func (m lostMount) Jail() string { return m.was.Jail() }

func (m lostMount) MountNS() *os.File {
	r, w, _ := os.Pipe()
	w.Close()
	r.Close()
	return r
}

// The mount dies while a slot is being made: whoever waits has one on the next
// mount, whether the making failed or came in time.
func TestFAULTS_F18_AMountLostWhileASlotIsMade(t *testing.T) {
	e := newEnv(t, landlock())
	for name, first := range map[string]Binfs{"closed before": lostMount{e.holder}, "died behind it": e.holder} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			var p *Pool
			p = NewPool(PoolConfig{}, e.maker, func() (Binfs, error) {
				if asked++; asked > 1 {
					return e.holder, nil
				}
				p.Rebuild(first)
				return first, nil
			})
			defer p.Close()
			s, err := e.try(p, testRealm, 10*time.Second)
			if err != nil {
				t.Fatalf("the one who waits hears %v", err)
			}
			if _, got := e.output(s, "exit", "3"); got.Status.ExitStatus() != 3 {
				t.Errorf("a proc in the slot: %+v", got)
			}
			p.Put(s)
			if asked != 2 {
				t.Errorf("the mount was asked for %d times, want once for each of two", asked)
			}
		})
	}
}

func TestPoolTrimsWhatIsIdle(t *testing.T) {
	e := newEnv(t, landlock())
	p := e.pool(PoolConfig{Idle: 60 * time.Millisecond})
	s := e.get(p, testRealm)
	time.Sleep(150 * time.Millisecond)
	if !s.usable() {
		t.Error("a slot in use was trimmed")
	}
	p.Put(s)
	select {
	case <-s.Gone():
	case <-time.After(5 * time.Second):
		t.Error("an idle slot stays")
	}
	if n := p.Count(testRealm); n != 0 {
		t.Errorf("%d slots are counted", n)
	}
}

// The bound of the node holds; one realm cannot have it all; and where all are
// given out, a resting one of another realm makes room.
func TestPoolBoundsTheNodeAndEachRealm(t *testing.T) {
	e := newEnv(t, landlock())
	p := e.pool(PoolConfig{Max: 4})
	var mine []*Slot
	for range 3 {
		mine = append(mine, e.get(p, testRealm))
	}
	time.Sleep(2 * young)
	if s, err := e.try(p, testRealm, 200*time.Millisecond); err != errNoSlot {
		t.Fatalf("a realm has a fourth of four slots: %v %v", s, err)
	}
	other := e.get(p, "realm-b")
	p.Put(other)
	// The waiting one still may not have it.
	time.Sleep(50 * time.Millisecond)
	if n := p.Count(testRealm); n != 3 {
		t.Errorf("the realm has %d slots", n)
	}
	p.Put(mine[0]) // goes to who waits
	p.Put(mine[1])
	third := e.get(p, "realm-b")
	if third != other {
		t.Error("the resting slot was not lent")
	}
	p.Put(mine[2])
	// All four are given out; realm-b needs a second: the oldest idle one goes.
	second := e.get(p, "realm-b")
	select {
	case <-mine[1].Gone():
	case <-time.After(5 * time.Second):
		t.Error("no resting slot made room")
	}
	p.Put(second)
	p.Put(third)
}

func TestPoolTellsWaitersWhatFails(t *testing.T) {
	e := newEnv(t, landlock())
	down := errors.New("binfs is down")
	p := NewPool(PoolConfig{}, e.maker, func() (Binfs, error) { return nil, down })
	defer p.Close()
	if _, err := e.try(p, testRealm, 5*time.Second); err != down {
		t.Errorf("%v, want %v", err, down)
	}
	// And the next one tries anew.
	if _, err := e.try(p, testRealm, 5*time.Second); err != down {
		t.Errorf("%v, want %v", err, down)
	}
}

// Removing a realm ends its slots, those in use and those that are being made,
// and whoever waits hears of it; when it returns, nothing of them is there.
func TestFAULTS_F34_PoolRemovesARealm(t *testing.T) {
	e := newEnv(t, landlock())
	p := e.pool(PoolConfig{})
	for range 5 {
		var wg sync.WaitGroup
		s := e.get(p, testRealm)
		end := e.start(s, "sleep")
		e.running(s)
		errs := make(chan error, 8)
		for range 8 {
			wg.Add(1)
			p.Get(testRealm, cgroup.BE, 64, func(s *Slot, err error) {
				defer wg.Done()
				if err != nil {
					errs <- err
					return
				}
				p.Put(s)
			})
		}
		time.Sleep(3 * time.Millisecond)
		p.RemoveRealm(testRealm)
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != ErrClosed {
				t.Errorf("a waiter heard %v", err)
			}
		}
		if got := e.await(end); !got.Died {
			t.Errorf("its proc: %+v", got)
		}
		if n := p.Count(testRealm); n != 0 {
			t.Errorf("%d slots are left", n)
		}
	}
	if n := len(e.maker.uids); n != 64 {
		t.Errorf("%d of 64 uids are free", n)
	}
}

func TestClosedPoolRefuses(t *testing.T) {
	e := newEnv(t, landlock())
	p := NewPool(PoolConfig{}, e.maker, func() (Binfs, error) { return e.holder, nil })
	s := e.get(p, testRealm)
	p.Close()
	<-s.Gone()
	if _, err := e.try(p, testRealm, time.Second); err != ErrClosed {
		t.Errorf("%v, want %v", err, ErrClosed)
	}
	p.Put(s) // by who had it
}
