package talk

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sigmaos/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = 30 * time.Second

// node is one end, whose messages are numbers.
type node struct {
	*Talk
	net    *network
	number uint16

	mu    sync.Mutex
	lists map[uint16]*list // by peer
}

// list is what a node had of a peer.
type list struct {
	got         []uint64
	overs       []int // len(got) at each Over
	byUs        int
	undelivered []uint64
}

func (n *node) list(peer uint16) *list {
	if n.lists[peer] == nil {
		n.lists[peer] = new(list)
	}
	return n.lists[peer]
}

// of copies what a node has had of a peer.
func (n *node) of(peer uint16) list {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := *n.list(peer)
	l.got = append([]uint64(nil), l.got...)
	l.overs = append([]int(nil), l.overs...)
	l.undelivered = append([]uint64(nil), l.undelivered...)
	return l
}

// network carries calls, and does harm to some.
type network struct {
	t *testing.T

	mu     sync.Mutex
	rng    *rand.Rand
	harm   float64
	nodes  map[uint16]*node
	cut    map[[2]uint16]bool       // no call gets there
	frozen map[uint16]chan struct{} // calls of it and to it wait
	wg     sync.WaitGroup
}

func newNetwork(t *testing.T, seed uint64) *network {
	w := &network{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), nodes: make(map[uint16]*node),
		cut: make(map[[2]uint16]bool), frozen: make(map[uint16]chan struct{}),
	}
	t.Cleanup(w.wg.Wait)
	return w
}

// start starts a node, or starts it again.
func (w *network) start(number uint16, boot uint32, tick time.Duration) *node {
	n := &node{net: w, number: number, lists: make(map[uint16]*list)}
	n.Talk = New(Config{
		Self: Peer{number, boot}, Tick: tick, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Call: func(ctx context.Context, to uint16, req []byte) ([]byte, error) { return w.call(ctx, number, to, req) },
		Encode: func(b []byte, m any) []byte {
			return binary.LittleEndian.AppendUint64(b, m.(uint64))
		},
		Decode: func(b []byte) (any, error) { return binary.LittleEndian.Uint64(b), nil },
		Receive: func(from Peer, ms []any) {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, m := range ms {
				n.list(from.Number).got = append(n.list(from.Number).got, m.(uint64))
			}
		},
		Over: func(p Peer, byUs bool, und []any) {
			n.mu.Lock()
			defer n.mu.Unlock()
			l := n.list(p.Number)
			l.overs = append(l.overs, len(l.got))
			if byUs {
				l.byUs++
			}
			for _, m := range und {
				l.undelivered = append(l.undelivered, m.(uint64))
			}
		},
	})
	w.mu.Lock()
	w.nodes[number] = n
	w.mu.Unlock()
	w.t.Cleanup(func() { n.Close() })
	return n
}

var errLost = errors.New("lost")

func (w *network) draw() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() / max(w.harm, 1e-9)
}

func (w *network) setHarm(p float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.harm = p
}

func (w *network) setCut(a, b uint16, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]uint16{a, b}], w.cut[[2]uint16{b, a}] = cut, cut
}

// awake waits while a node is frozen.
func (w *network) awake(ctx context.Context, n uint16) error {
	w.mu.Lock()
	ice := w.frozen[n]
	w.mu.Unlock()
	if ice == nil {
		return nil
	}
	select {
	case <-ice:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *network) call(ctx context.Context, from, to uint16, req []byte) ([]byte, error) {
	if err := errors.Join(w.awake(ctx, from), w.awake(ctx, to)); err != nil {
		return nil, err
	}
	w.mu.Lock()
	n, cut := w.nodes[to], w.cut[[2]uint16{from, to}]
	w.mu.Unlock()
	if n == nil || cut {
		return nil, errLost
	}
	switch d := w.draw(); {
	case d < 0.25: // lost on the way there
		return nil, errLost
	case d < 0.5: // comes once more, later, after others
		w.mu.Lock()
		late := time.Duration(w.rng.IntN(20)) * time.Millisecond
		w.mu.Unlock()
		again := append([]byte(nil), req...)
		w.wg.Go(func() {
			time.Sleep(late)
			n.Serve(from, again)
		})
	case d < 0.75: // lost on the way back
		n.Serve(from, req)
		return nil, errLost
	}
	return n.Serve(from, req)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestMessagesArriveInOrder(t *testing.T) {
	w := newNetwork(t, 1)
	a, b := w.start(1, 1, time.Second), w.start(2, 1, time.Second)
	const count = 20_000
	for i := range uint64(count) {
		a.Send(2, i+1)
		b.Send(1, i+1)
	}
	eventually(t, "all arrive", func() bool { return len(a.of(2).got) == count && len(b.of(1).got) == count })
	for i, m := range b.of(1).got {
		if m != uint64(i+1) {
			t.Fatalf("message %d is %d", i+1, m)
		}
	}
}

// Whatever happens to calls: a message comes at most once and in order; what did
// not come was told to its sender; and where something is missing, the receiver was
// told of an end before it had what came after.
func TestFAULTS_F29_LostDoubledReordered(t *testing.T) {
	for seed := range uint64(8) {
		w := newNetwork(t, seed)
		a, b := w.start(1, 1, 5*time.Millisecond), w.start(2, 1, 5*time.Millisecond)
		w.setHarm(0.2 + 0.1*float64(seed))
		var sent uint64
		for range 40 {
			for range 25 {
				sent++
				a.Send(2, sent)
				b.Send(1, sent)
			}
			if w.draw() < 0.3 {
				w.setCut(1, 2, true)
				time.Sleep(40 * time.Millisecond)
				w.setCut(1, 2, false)
			}
			time.Sleep(2 * time.Millisecond)
		}
		w.setHarm(0)
		settled := func(from, to *node) bool {
			all := make(map[uint64]bool)
			for _, m := range append(from.of(to.number).undelivered, to.of(from.number).got...) {
				all[m] = true
			}
			return uint64(len(all)) == sent
		}
		eventually(t, "every message has arrived or come back", func() bool { return settled(a, b) && settled(b, a) })
		for _, d := range [][2]*node{{a, b}, {b, a}} {
			from, to := d[0].of(d[1].number), d[1].of(d[0].number)
			told := make(map[uint64]bool)
			for _, m := range from.undelivered {
				told[m] = true
			}
			last := uint64(0)
			for i, m := range to.got {
				if m <= last {
					t.Fatalf("seed %d: %d came after %d", seed, m, last)
				}
				over := i == 0
				for _, at := range to.overs {
					over = over || at == i
				}
				if m > last+1 && !over {
					t.Fatalf("seed %d: %d came after %d, and no end was told between them", seed, m, last)
				}
				for miss := last + 1; miss < m; miss++ {
					if !told[miss] {
						t.Fatalf("seed %d: %d did not come and was not told", seed, miss)
					}
				}
				last = m
			}
		}
	}
}

// Both sides learn of an end, and talk again.
func TestAnEndIsToldOnBothSides(t *testing.T) {
	w := newNetwork(t, 1)
	a, b := w.start(1, 1, 20*time.Millisecond), w.start(2, 1, 20*time.Millisecond)
	a.Send(2, uint64(1))
	eventually(t, "it arrives", func() bool { return len(b.of(1).got) == 1 })
	w.setCut(1, 2, true)
	eventually(t, "both give up", func() bool { return len(a.of(2).overs) > 0 && len(b.of(1).overs) > 0 })
	w.setCut(1, 2, false)
	a.Send(2, uint64(2))
	b.Send(1, uint64(1))
	eventually(t, "they talk again", func() bool { return len(b.of(1).got) == 2 && len(a.of(2).got) == 1 })
}

// Ticks are counted: a node that stood still has missed one, whatever the clock
// says, and learns from the others that it was given up.
func TestFAULTS_F5_APauseIsOneTick(t *testing.T) {
	w := newNetwork(t, 1)
	a, b := w.start(1, 1, time.Hour), w.start(2, 1, time.Hour)
	a.Send(2, uint64(1))
	b.Send(1, uint64(1))
	eventually(t, "they talk", func() bool { return len(b.of(1).got) == 1 && len(a.of(2).got) == 1 })
	ice := make(chan struct{})
	w.mu.Lock()
	w.frozen[2] = ice
	w.mu.Unlock()
	a.Send(2, uint64(2))
	for range 6 { // b has none meanwhile
		a.tick()
	}
	if l := a.of(2); l.byUs != 1 || len(l.overs) != 1 {
		t.Fatalf("after six ticks without an answer: %+v", l)
	}
	w.mu.Lock()
	delete(w.frozen, 2)
	w.mu.Unlock()
	close(ice)
	b.tick()
	eventually(t, "the other side learns it", func() bool { l := b.of(1); return len(l.overs) == 1 && l.byUs == 0 })
	if got := b.of(1).got; len(got) > 2 {
		t.Errorf("%v came", got)
	}
}

func TestARestartedNodeIsAnotherOne(t *testing.T) {
	w := newNetwork(t, 1)
	a, b := w.start(1, 1, time.Hour), w.start(2, 7, time.Hour)
	a.Send(2, uint64(1))
	eventually(t, "it arrives", func() bool { return len(b.of(1).got) == 1 })
	b.Close()
	b = w.start(2, 8, time.Hour)
	b.Watch(1)
	eventually(t, "the end of the first is told", func() bool { return len(a.of(2).overs) == 1 })
	a.Send(2, uint64(2))
	eventually(t, "they talk", func() bool { return len(b.of(1).got) == 1 })
}

func TestLeftEndsAtOnce(t *testing.T) {
	w := newNetwork(t, 1)
	a := w.start(1, 1, time.Hour)
	a.Send(2, uint64(1)) // nobody is there
	a.Left(2)
	if l := a.of(2); len(l.overs) != 1 || len(l.undelivered) != 1 {
		t.Errorf("%+v", l)
	}
}

func FuzzServe(f *testing.F) {
	f.Add(head{1, 0, 1}.append(nil))
	f.Add(append(head{1 << 32, 1<<32 | 1, 1}.append(nil), 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		k := New(Config{
			Self: Peer{1, 1}, Tick: time.Hour, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Call:    func(context.Context, uint16, []byte) ([]byte, error) { return nil, errLost },
			Encode:  func(b []byte, _ any) []byte { return b },
			Decode:  func(b []byte) (any, error) { return b, nil },
			Receive: func(Peer, []any) {}, Over: func(Peer, bool, []any) {},
		})
		defer k.Close()
		k.Serve(2, b)
		parseAnswer(b)
	})
}
