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

// act is an operation on one of two files, which are renamed to each other. Values
// are written once, so that a value stands for a version.
type act struct {
	pair string
	file int    // of the pair
	kind string // get, put, swap, rename, list
	old  string // of a swap: it needs this value
	new  string
}

// seen is its outcome.
type seen struct {
	value   string  // of a get; "" is that there is none
	there   [2]bool // of a list
	refused bool    // a swap, since it has another value; a rename, since there is none
	unknown bool
}

// fileOps is the model: two registers. A write replaces one; a swap does if it has
// the value that the client last read; a rename puts one in the other's place.
var fileOps = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		by := make(map[string][]porcupine.Operation)
		for _, o := range all {
			by[o.Input.(act).pair] = append(by[o.Input.(act).pair], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range by {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return [2]string{} },
	Step: func(state, in, out any) (bool, any) {
		return step(state.([2]string), in.(act), out.(seen))
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
}

func step(have [2]string, a act, o seen) (bool, [2]string) {
	was, next := have[a.file], have
	switch a.kind {
	case "get":
		return o.value == was, have
	case "list":
		return o.there == [2]bool{have[0] != "", have[1] != ""}, have
	case "rename":
		if o.refused || o.unknown && was == "" {
			return was == "", have
		}
		next[a.file], next[1-a.file] = "", was
		return was != "", next
	case "swap":
		if o.refused || o.unknown && was != a.old {
			return was != a.old, have
		}
		next[a.file] = a.new
		return was == a.old, next
	default:
		next[a.file] = a.new
		return true, next
	}
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

// path is where a file of a pair is.
func (a act) path(file int) string { return "/lin/" + a.pair + []string{".a", ".b"}[file] }

// do carries a out after a get of the same file, which found info.
func (a act) do(ctx context.Context, names *sigma.Names, info sigma.Info) (o seen, err error) {
	refusal := api.Conflict
	switch a.kind {
	case "list":
		var list []sigma.Info
		list, err = names.ReadDir(ctx, "/lin", a.pair+".", 2)
		for _, i := range list {
			for file := range 2 {
				o.there[file] = o.there[file] || "/lin/"+i.Name() == a.path(file)
			}
		}
	case "rename":
		refusal = api.NotFound
		err = names.Rename(ctx, a.path(a.file), a.path(1-a.file))
	case "swap":
		_, err = names.PutFile(ctx, a.path(a.file), []byte(a.new), sigma.IfVersion(info.Attr.Version))
	default:
		_, err = names.PutFile(ctx, a.path(a.file), []byte(a.new))
	}
	if o.refused = api.KindOf(err) == refusal; o.refused {
		err = nil
	}
	o.unknown = err != nil
	return o, err
}

// names reads and changes a few pairs of files, others every ten seconds, and
// records it.
func (w *world) names(m *machine, h *history, number int) {
	n := 0
	w.connected(m, func(c *admin.Client) {
		client := h.client()
		names := c.Names()
		for w.sleep(w.about(10*time.Millisecond, 60*time.Millisecond)) {
			n++
			get := act{pair: fmt.Sprintf("%d-%d", int(time.Since(h.begin)/(10*time.Second)), n%3), file: n / 2 % 2, kind: "get"}
			call := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), waitBound)
			old, info, err := names.GetFile(ctx, get.path(get.file))
			if api.KindOf(err) == api.NotFound {
				err = nil
			}
			if err == nil {
				h.add(client, get, call, seen{value: string(old)})
				a := get
				a.new = fmt.Sprintf("%d.%d", number, n)
				if a.kind = []string{"put", "swap", "list", "rename"}[n%4]; a.kind == "swap" {
					if a.old = string(old); a.old == "" {
						a.kind = "put"
					}
				}
				call = time.Now()
				var o seen
				o, err = a.do(ctx, names, info)
				if !o.unknown || a.kind != "list" {
					h.add(client, a, call, o)
				}
			}
			if ctx.Err() != nil {
				w.violated("an operation on %s from %s did not end within %v", get.pair, m.name(), waitBound)
			}
			cancel()
			if w.did("names", m, err); err != nil {
				return
			}
		}
	})
}

// The checkers must see what they are there for: a stale read, a lost write, a
// swap that should have been refused, a rename in two steps, and a second start.
func TestScheduleCheckersCatchWhatTheyAreFor(t *testing.T) {
	type done struct {
		a          act
		o          seen
		call, back int64
	}
	put := done{a: act{kind: "put", new: "1"}, call: 1, back: 2}
	get := func(value string, call, back int64) done {
		return done{a: act{kind: "get"}, o: seen{value: value}, call: call, back: back}
	}
	swap := func(old, to string, o seen, call, back int64) done {
		return done{a: act{kind: "swap", old: old, new: to}, o: o, call: call, back: back}
	}
	rename := func(o seen, call, back int64) done {
		return done{a: act{kind: "rename"}, o: o, call: call, back: back}
	}
	list := func(a, b bool, call, back int64) done {
		return done{a: act{kind: "list"}, o: seen{there: [2]bool{a, b}}, call: call, back: back}
	}
	other := func(d done) done {
		d.a.file = 1
		return d
	}
	const never = math.MaxInt64
	for name, c := range map[string]struct {
		ops  []done
		want porcupine.CheckResult
	}{
		"plain":                        {[]done{get("", 0, 1), put, get("1", 3, 4)}, porcupine.Ok},
		"a stale read":                 {[]done{put, get("", 3, 4)}, porcupine.Illegal},
		"a lost write":                 {[]done{put, get("1", 3, 4), get("", 5, 6)}, porcupine.Illegal},
		"a wrong swap":                 {[]done{put, swap("0", "2", seen{}, 3, 4)}, porcupine.Illegal},
		"a refused swap":               {[]done{put, swap("0", "2", seen{refused: true}, 3, 4), get("1", 5, 6)}, porcupine.Ok},
		"an unknown swap":              {[]done{put, swap("1", "2", seen{unknown: true}, 3, never), get("1", 5, 6), get("2", 7, 8)}, porcupine.Ok},
		"a swap undone later":          {[]done{put, swap("1", "2", seen{unknown: true}, 3, never), get("2", 5, 6), get("1", 7, 8)}, porcupine.Illegal},
		"a rename":                     {[]done{put, rename(seen{}, 3, 8), list(true, false, 4, 5), list(false, true, 6, 7), get("", 9, 10), other(get("1", 9, 10))}, porcupine.Ok},
		"a rename shows both":          {[]done{put, rename(seen{}, 3, 8), list(true, true, 4, 5)}, porcupine.Illegal},
		"a rename shows neither":       {[]done{put, rename(seen{}, 3, 8), list(false, false, 4, 5)}, porcupine.Illegal},
		"a lost rename":                {[]done{put, rename(seen{}, 3, 4), get("1", 5, 6)}, porcupine.Illegal},
		"a rename of nothing":          {[]done{rename(seen{refused: true}, 0, 1), put, rename(seen{refused: true}, 3, 4)}, porcupine.Illegal},
		"an unknown rename":            {[]done{put, rename(seen{unknown: true}, 3, never), get("1", 5, 6), other(get("1", 7, 8))}, porcupine.Ok},
		"a rename undone later":        {[]done{put, rename(seen{unknown: true}, 3, never), other(get("1", 5, 6)), get("1", 7, 8)}, porcupine.Illegal},
		"an unknown rename of nothing": {[]done{rename(seen{unknown: true}, 0, never), list(false, false, 1, 2)}, porcupine.Ok},
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
