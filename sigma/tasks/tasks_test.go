package tasks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigmaos/api"
)

// memory is a store in which a leader can crash at its n-th write: before it, or
// after it with the answer lost. fence refuses leaders that were replaced.
type memory struct {
	mu     sync.Mutex
	files  map[string]file
	writes int
	epoch  int
}

type file struct {
	data    string
	version uint64
}

var errCrash = errors.New("crash")

// leader is one leader's view of the store.
type leader struct {
	m      *memory
	epoch  int
	at     int // the write at which it crashes; 0 is never
	after  bool
	dead   bool
	writes int
}

func (m *memory) lead(at int, after bool) *leader {
	m.epoch++
	return &leader{m: m, epoch: m.epoch, at: at, after: after}
}

func (l *leader) Mkdir(context.Context, string) error { return nil }

func (l *leader) List(_ context.Context, dir string) (out []string, err error) {
	for p := range l.m.files {
		if name, ok := strings.CutPrefix(p, dir+"/"); ok {
			out = append(out, name)
		}
	}
	return out, nil
}

func (l *leader) Get(_ context.Context, path string) ([]byte, uint64, error) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	f, ok := l.m.files[path]
	if !ok {
		return nil, 0, api.E(api.NotFound, "get", path, "none")
	}
	return []byte(f.data), f.version, nil
}

func (l *leader) Put(_ context.Context, path string, data []byte, version uint64) (uint64, error) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.dead {
		return 0, errCrash
	}
	l.writes++
	crash := l.at != 0 && l.writes == l.at
	if crash && !l.after {
		l.dead = true
		return 0, errCrash
	}
	if l.epoch != l.m.epoch || l.m.files[path].version != version {
		return 0, api.E(api.Conflict, "put", path, "fence or version")
	}
	l.m.writes++
	l.m.files[path] = file{string(data), uint64(l.m.writes)}
	if crash {
		l.dead = true
		return 0, errCrash
	}
	return uint64(l.m.writes), nil
}

const count = 4

// work does the whole job with a queue: every second attempt fails. It records
// what was told to be the first result.
func work(ctx context.Context, s Store, committed map[string]string) error {
	q, err := Open(ctx, s, "/q", Options{})
	if err != nil {
		return err
	}
	var list []New
	for i := range count {
		list = append(list, New{fmt.Sprint("t", i), []byte{byte(i)}, i%3 > 0})
	}
	if err := q.SubmitAll(ctx, list); err != nil {
		return err
	}
	for {
		t, ok, err := q.Acquire(ctx)
		if err != nil || !ok {
			return err
		}
		if t.Attempt%2 == 1 {
			if err := q.Failed(ctx, t.ID, t.Attempt, "odd"); err != nil {
				return err
			}
			continue
		}
		result := fmt.Sprintf("%s by %d", t.ID, t.Attempt)
		first, err := q.Done(ctx, t.ID, t.Attempt, []byte(result))
		if err != nil {
			return err
		}
		if was, again := committed[t.ID]; again || !first {
			return fmt.Errorf("%s is committed as %q and again as %q (first %v)", t.ID, was, result, first)
		}
		committed[t.ID] = result
	}
}

// A leader crashes at each of its writes, before and after it, and so does its
// successor: the third ends the job, and no result is lost or told twice.
func TestFAULTS_F32_CrashAtEachStep(t *testing.T) {
	ctx := context.Background()
	whole := (&memory{files: map[string]file{}}).lead(0, false)
	if err := work(ctx, whole, map[string]string{}); err != nil {
		t.Fatal(err)
	}
	for first := 1; first <= whole.writes; first++ {
		for second := 1; second <= whole.writes; second += 3 {
			for _, after := range []bool{false, true} {
				m, committed := &memory{files: map[string]file{}}, map[string]string{}
				for _, at := range []int{first, second} {
					if err := work(ctx, m.lead(at, after), committed); err != nil && !errors.Is(err, errCrash) {
						t.Fatalf("crash at %d and %d, after %v: %v", first, second, after, err)
					}
				}
				if err := work(ctx, m.lead(0, false), committed); err != nil {
					t.Fatalf("crash at %d and %d, after %v: the last leader: %v", first, second, after, err)
				}
				q, err := Open(ctx, m.lead(0, false), "/q", Options{})
				if err != nil || q.Count(Done) != count {
					t.Fatalf("crash at %d and %d, after %v: %d done, %v; want %d", first, second, after, q.Count(Done), err, count)
				}
				for _, x := range q.Tasks() {
					if want, told := committed[x.ID]; told && want != string(x.Result) {
						t.Errorf("crash at %d and %d: %s has %q, told was %q", first, second, x.ID, x.Result, want)
					}
				}
			}
		}
	}
}

func TestALeaderThatWasReplacedChangesNothing(t *testing.T) {
	ctx := context.Background()
	m := &memory{files: map[string]file{}}
	old, err := Open(ctx, m.lead(0, false), "/q", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Submit(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	x, _, err := old.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	q, err := Open(ctx, m.lead(0, false), "/q", Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(m.files)
	_, derr := old.Done(ctx, "a", x.Attempt, []byte("old"))
	for call, err := range map[string]error{"done": derr, "failed": old.Failed(ctx, "a", x.Attempt, ""), "submit": old.Submit(ctx, "b", nil)} {
		if api.KindOf(err) != api.Conflict {
			t.Errorf("%s by the old leader: %v, want a conflict", call, err)
		}
	}
	if !maps.Equal(before, m.files) {
		t.Errorf("the old leader changed %v to %v", before, m.files)
	}
	if y, ok, err := q.Acquire(ctx); err != nil || !ok || y.Attempt != x.Attempt+1 {
		t.Errorf("acquire by the new one: %+v, %v, %v; want attempt %d", y, ok, err, x.Attempt+1)
	}
}

// Copies of tasks race in any order; each task has the result of the first.
func TestTheFirstResultStays(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := &memory{files: map[string]file{}}
		q, err := Open(ctx, m.lead(0, false), "/q", Options{Tries: 100})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Submit(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := q.Acquire(ctx); !ok || err != nil {
			t.Fatalf("acquire: %v, %v", ok, err)
		}
		for range 3 {
			if _, ok, err := q.Again(ctx, "a"); !ok || err != nil {
				t.Fatalf("again: %v, %v", ok, err)
			}
		}
		want := 0
		for _, i := range r.Perm(4) {
			n := i + 1
			if r.IntN(3) == 0 {
				if err := q.Failed(ctx, "a", n, "x"); err != nil {
					t.Fatal(err)
				}
				continue
			}
			first, err := q.Done(ctx, "a", n, fmt.Append(nil, n))
			if err != nil || first != (want == 0) {
				t.Fatalf("seed %d: done of attempt %d: first %v, %v; the winner was %d", seed, n, first, err, want)
			}
			if want == 0 {
				want = n
			}
		}
		if x := q.Tasks()[0]; want != 0 && (x.State != Done || x.Winner != want || string(x.Result) != fmt.Sprint(want)) {
			t.Errorf("seed %d: %+v, want the result of %d", seed, x, want)
		}
	}
}

func TestWrongUse(t *testing.T) {
	ctx := context.Background()
	m := &memory{files: map[string]file{}}
	q, err := Open(ctx, m.lead(0, false), "/q", Options{Tries: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Submit(ctx, "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	_, notGiven := q.Done(ctx, "a", 1, nil)
	_, unknown := q.Done(ctx, "b", 1, nil)
	for _, tt := range []struct {
		name string
		err  error
		kind api.Kind
	}{
		{"empty id", q.Submit(ctx, "", nil), api.Invalid},
		{"a path for an id", q.Submit(ctx, "x/y", nil), api.Invalid},
		{"a large payload", q.Submit(ctx, "c", make([]byte, maxTask+1)), api.TooLarge},
		{"another task of the id", q.Submit(ctx, "a", []byte("2")), api.Exists},
		{"the same task", q.Submit(ctx, "a", []byte("1")), ""},
		{"done before it was given out", notGiven, api.Invalid},
		{"done of an unknown one", unknown, api.NotFound},
	} {
		if api.KindOf(tt.err) != tt.kind {
			t.Errorf("%s: %v, want kind %q", tt.name, tt.err, tt.kind)
		}
	}
	for i := range 2 {
		x, ok, err := q.Acquire(ctx)
		if err != nil || !ok || x.Attempt != i+1 {
			t.Fatalf("acquire %d: %+v, %v, %v", i, x, ok, err)
		}
		if err := q.Failed(ctx, "a", x.Attempt, "no"); err != nil {
			t.Fatal(err)
		}
	}
	if x := q.Tasks()[0]; x.State != Failed || x.Error != "no" {
		t.Errorf("after two failures: %+v, want failed", x)
	}
	if ids := slices.Collect(maps.Keys(q.tasks)); len(ids) != 1 {
		t.Errorf("tasks %v, want a alone", ids)
	}
}

// What came back counts as no failure; what is redone has a new result, and the
// old one cannot be redone twice.
func TestBackAndRedo(t *testing.T) {
	ctx := context.Background()
	m := &memory{files: map[string]file{}}
	q, err := Open(ctx, m.lead(0, false), "/q", Options{Tries: 1})
	if err == nil {
		err = q.Submit(ctx, "a", nil)
	}
	for range 3 {
		var x Task
		if x, _, err = q.Acquire(ctx); err == nil {
			err = q.Back(ctx, "a", x.Attempt)
		}
	}
	x, ok, aerr := q.Acquire(ctx)
	if err != nil || aerr != nil || !ok || x.Attempt != 4 || x.Failure != 0 || x.Returns != 3 {
		t.Fatalf("after three returns: %+v, %v, %v; want attempt 4 without a failure", x, err, aerr)
	}
	if first, err := q.Done(ctx, "a", 4, []byte("there")); !first || err != nil {
		t.Fatal(first, err)
	}
	for _, tt := range []struct {
		winner int
		want   bool
	}{{3, false}, {4, true}, {4, false}} {
		if got, err := q.Redo(ctx, "a", tt.winner); got != tt.want || err != nil {
			t.Errorf("redo of attempt %d: %v, %v; want %v", tt.winner, got, err, tt.want)
		}
	}
	q, err = Open(ctx, m.lead(0, false), "/q", Options{})
	if err != nil || q.Count(Waiting) != 1 {
		t.Fatalf("the next leader sees %+v, %v; want it waiting", q.Tasks(), err)
	}
	x, _, _ = q.Acquire(ctx)
	if first, err := q.Done(ctx, "a", x.Attempt, []byte("again")); !first || err != nil {
		t.Fatal(first, err)
	}
	if x := q.Tasks()[0]; string(x.Result) != "again" || x.Winner != 5 {
		t.Errorf("redone: %+v", x)
	}
}

// Several are given out at a time, the first ones, and each once. Where a write fails,
// what is returned is given out, and the next leader gives everything another attempt.
func TestAcquireSome(t *testing.T) {
	ctx := t.Context()
	for crash := range 5 {
		m := &memory{files: make(map[string]file)}
		l := m.lead(0, false)
		q, err := Open(ctx, l, "/q", Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"c", "a", "d", "b"} {
			if err := q.Submit(ctx, id, nil); err != nil {
				t.Fatal(err)
			}
		}
		if crash > 0 {
			l.at = l.writes + crash
		}
		given := make(map[string]bool)
		for _, max := range []int{3, 3, 3} {
			list, err := q.AcquireSome(ctx, max)
			for _, k := range list {
				if given[k.ID] || k.State != Running || k.Attempt != 1 || m.files["/q/"+k.ID].version == 0 {
					t.Errorf("crash at write %d: given out: %+v", crash, k)
				}
				given[k.ID] = true
			}
			if err != nil {
				break
			}
			if want := min(3, 4-len(given)+len(list)); len(list) != want {
				t.Errorf("AcquireSome(3) with %d left = %d tasks", 4-len(given)+len(list), len(list))
			}
		}
		if crash == 0 && (len(given) != 4 || !given["d"]) || l.dead == (crash == 0) || l.dead && len(given) > 3 {
			t.Errorf("crash at write %d: given out %v", crash, given)
		}
		q, err = Open(ctx, m.lead(0, false), "/q", Options{})
		if err != nil {
			t.Fatal(err)
		}
		list, err := q.AcquireSome(ctx, 9)
		if err != nil || len(list) != 4 || list[0].ID != "a" || list[3].ID != "d" {
			t.Errorf("the next leader: %v, %v", list, err)
		}
		for _, k := range list {
			if given[k.ID] && k.Attempt != 2 {
				t.Errorf("the next leader gives out attempt %d of %s", k.Attempt, k.ID)
			}
		}
	}
}

// To give out what one has submitted as begun costs no write, and the next leader gives
// out its second attempt, whether it was or not; of another the first.
func TestTheFirstAttemptIsWrittenWithTheTask(t *testing.T) {
	ctx := t.Context()
	m := &memory{files: make(map[string]file)}
	l := m.lead(0, false)
	q, err := Open(ctx, l, "/q", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.SubmitAll(ctx, []New{{"a", []byte("x"), true}, {"b", nil, true}, {"c", nil, false}}); err != nil {
		t.Fatal(err)
	}
	if n := q.Count(Waiting); n != 3 {
		t.Errorf("%d of 3 wait", n)
	}
	if _, err := q.Done(ctx, "b", 1, nil); api.KindOf(err) != api.Invalid {
		t.Errorf("an attempt is done that was not given out: %v", err)
	}
	writes := l.writes
	x, ok, err := q.Acquire(ctx)
	if err != nil || !ok || x.ID != "a" || x.Attempt != 1 || string(x.Payload) != "x" || l.writes != writes {
		t.Errorf("%+v, %v, %v, with %d writes", x, ok, err, l.writes-writes)
	}
	if err := q.Back(ctx, "a", 1); err != nil {
		t.Error(err)
	}
	if x, ok, err = q.Acquire(ctx); err != nil || !ok || x.Attempt != 2 || l.writes != writes+2 {
		t.Errorf("after it came back: %+v, %v, %v, %d writes", x, ok, err, l.writes-writes)
	}
	if q, err = Open(ctx, m.lead(0, false), "/q", Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		id      string
		attempt int
	}{{"a", 3}, {"b", 2}, {"c", 1}} {
		if x, ok, err := q.Acquire(ctx); err != nil || !ok || x.ID != want.id || x.Attempt != want.attempt {
			t.Errorf("the next leader gives out %+v, %v, %v; want %+v", x, ok, err, want)
		}
	}
}
