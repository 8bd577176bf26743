package test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

// history is what clients did with files and what they were told.
type history struct {
	begin time.Time

	mu   sync.Mutex
	ops  []porcupine.Operation
	next int // client ids; one whose write has no known outcome is not used again
}

// act is an operation on one file. Values are written once, so that a value
// stands for a version.
type act struct {
	file string
	kind string // get, put, swap
	old  string // of a swap: it needs this value
	new  string
}

// seen is its outcome.
type seen struct {
	value   string
	refused bool // of a swap
	unknown bool
}

// fileOps is the model: a register that a write replaces, and a swap replaces if
// it has the value that the client last read.
var fileOps = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		by := make(map[string][]porcupine.Operation)
		for _, o := range all {
			by[o.Input.(act).file] = append(by[o.Input.(act).file], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range by {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		have, a, o := state.(string), in.(act), out.(seen)
		switch {
		case a.kind == "get":
			return o.value == have, have
		case a.kind == "put":
			return true, a.new
		case o.unknown:
			if have == a.old {
				return true, a.new
			}
			return true, have
		case o.refused:
			return have != a.old, have
		}
		return have == a.old, a.new
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
}

func (h *history) client() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next
}

func (h *history) add(client int, a act, call time.Time, o seen) {
	end := int64(math.MaxInt64)
	if !o.unknown {
		end = int64(time.Since(h.begin))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: a, Call: int64(call.Sub(h.begin)), Output: o, Return: end})
}

// check finds out whether there is an order of all operations in which each saw
// what it was told.
func (h *history) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ops) < 100 {
		t.Errorf("the run does not count: %d operations on files", len(h.ops))
	}
	if r := porcupine.CheckOperationsTimeout(fileOps, h.ops, 2*time.Minute); r != porcupine.Ok {
		t.Errorf("%d operations on files are not linearizable: %s", len(h.ops), r)
	}
}

// names reads and writes a few files, others every ten seconds, and records it.
func (w *world) names(m *machine, h *history, number int) {
	n := 0
	w.connected(m, func(c *admin.Client) {
		client := h.client()
		names := c.Names()
		for w.sleep(w.between(10*time.Millisecond, 60*time.Millisecond)) {
			n++
			a := act{file: fmt.Sprintf("/lin/%d-%d", int(time.Since(h.begin)/(10*time.Second)), n%3), new: fmt.Sprintf("%d.%d", number, n)}
			call := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), waitBound)
			old, info, err := names.GetFile(ctx, a.file)
			if api.KindOf(err) == api.NotFound {
				err = nil
			}
			if err == nil {
				h.add(client, act{file: a.file, kind: "get"}, call, seen{value: string(old)})
				call = time.Now()
				var o seen
				if a.kind = "put"; len(old) > 0 && n%2 == 0 {
					a.kind, a.old = "swap", string(old)
					_, err = names.PutFile(ctx, a.file, []byte(a.new), sigma.IfVersion(info.Attr.Version))
					if o.refused = api.KindOf(err) == api.Conflict; o.refused {
						err = nil
					}
				} else {
					_, err = names.PutFile(ctx, a.file, []byte(a.new))
				}
				o.unknown = err != nil
				h.add(client, a, call, o)
			}
			if ctx.Err() != nil {
				w.violated("an operation on %s from %s did not end within %v", a.file, m.name(), waitBound)
			}
			cancel()
			if w.did("names", m, err); err != nil {
				return
			}
		}
	})
}

// The checkers must see what they are there for: a stale read, a lost write, a
// swap that should have been refused, and a second start.
func TestScheduleCheckersCatchWhatTheyAreFor(t *testing.T) {
	type done struct {
		a          act
		o          seen
		call, back int64
	}
	put := done{a: act{file: "f", kind: "put", new: "1"}, call: 1, back: 2}
	get := func(value string, call, back int64) done {
		return done{a: act{file: "f", kind: "get"}, o: seen{value: value}, call: call, back: back}
	}
	swap := func(old, to string, o seen, call, back int64) done {
		return done{a: act{file: "f", kind: "swap", old: old, new: to}, o: o, call: call, back: back}
	}
	for name, c := range map[string]struct {
		ops  []done
		want porcupine.CheckResult
	}{
		"plain":               {[]done{get("", 0, 1), put, get("1", 3, 4)}, porcupine.Ok},
		"a stale read":        {[]done{put, get("", 3, 4)}, porcupine.Illegal},
		"a lost write":        {[]done{put, get("1", 3, 4), get("", 5, 6)}, porcupine.Illegal},
		"a wrong swap":        {[]done{put, swap("0", "2", seen{}, 3, 4)}, porcupine.Illegal},
		"a refused swap":      {[]done{put, swap("0", "2", seen{refused: true}, 3, 4), get("1", 5, 6)}, porcupine.Ok},
		"an unknown swap":     {[]done{put, swap("1", "2", seen{unknown: true}, 3, math.MaxInt64), get("1", 5, 6), get("2", 7, 8)}, porcupine.Ok},
		"a swap undone later": {[]done{put, swap("1", "2", seen{unknown: true}, 3, math.MaxInt64), get("2", 5, 6), get("1", 7, 8)}, porcupine.Illegal},
	} {
		var ops []porcupine.Operation
		for i, d := range c.ops {
			ops = append(ops, porcupine.Operation{ClientId: i, Input: d.a, Output: d.o, Call: d.call, Return: d.back})
		}
		if got := porcupine.CheckOperationsTimeout(fileOps, ops, time.Minute); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	n := StartNode(t)
	c := n.Client("default")
	if err := c.Names().MkdirAll(minute(t), "/notes", 0o777); err != nil {
		t.Fatal(err)
	}
	d := &api.ProcDesc{Program: n.program("testproc"), Args: []string{"nap", "/notes/1", "0"}}
	if st := n.Run(c, d); !st.OK() || string(st.Data) != "/notes/1" {
		t.Errorf("the first start: %v, %q", st, st.Data)
	}
	if st := n.Run(c, d); st.Code != 1 {
		t.Errorf("the second start: %v, want status 1", st)
	}
}
