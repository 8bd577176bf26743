package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sigmaos/api"
)

// State is where a task is.
type State string

const (
	Waiting State = "waiting"
	Running State = "running"
	Done    State = "done"   // final
	Failed  State = "failed" // final: it failed too often
)

// Task is one task as it is kept.
type Task struct {
	ID      string `json:"id"`
	State   State  `json:"state"`
	Attempt int    `json:"attempt"` // given out so often
	Payload []byte `json:"payload,omitempty"`
	Result  []byte `json:"result,omitempty"` // of the attempt that was first
	Winner  int    `json:"winner,omitempty"` // its number
	Failure int    `json:"failures,omitempty"`
	Returns int    `json:"returns,omitempty"` // attempts that came back without a verdict
	Error   string `json:"error,omitempty"`   // of the last failure
}

// Options of a queue.
type Options struct {
	// Tries is how many failures end a task; 0 is 4. The end of a leader is none.
	Tries int
}

const (
	defaultTries = 4
	maxTask      = 256 << 10 // payload or result; larger things go into files
	atOnce       = 8         // tasks that are written or read
)

// Queue is a queue at its leader. It may be used by any number of goroutines.
type Queue struct {
	s   Store
	dir string
	o   Options

	mu    sync.Mutex // held over writes too: the store sees one change of a task at a time
	tasks map[string]*kept
}

type kept struct {
	Task
	version uint64
	written bool // the store has its next attempt already: it was submitted by this leader and not given out
}

// Open takes over the queue in a directory, which is made when it is not there.
func Open(ctx context.Context, s Store, dir string, o Options) (*Queue, error) {
	if o.Tries == 0 {
		o.Tries = defaultTries
	}
	q := &Queue{s: s, dir: dir, o: o, tasks: make(map[string]*kept)}
	if err := s.Mkdir(ctx, dir); err != nil {
		return nil, err
	}
	list, err := s.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	loaded := make([]*kept, len(list))
	err = several(len(list), func(i int) (err error) {
		loaded[i], err = q.load(ctx, list[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, k := range loaded {
		q.tasks[k.ID] = k
	}
	return q, nil
}

// several calls fn for 0 to n-1, several at a time, up to an error.
func several(n int, fn func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, min(atOnce, n))
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[w] == nil; i = int(next.Add(1)) - 1 {
				errs[w] = fn(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// load reads a task. One under way was the last leader's: it waits again, which
// need not be written, for the next Open would find the same.
func (q *Queue) load(ctx context.Context, id string) (*kept, error) {
	b, v, err := q.s.Get(ctx, q.dir+"/"+id)
	if err != nil {
		return nil, err
	}
	k := &kept{version: v}
	if err := json.Unmarshal(b, &k.Task); err != nil || k.ID != id {
		return nil, api.E(api.Internal, "tasks", q.dir+"/"+id, "it is no task (%v); who else writes there?", err)
	}
	if k.State == Running {
		k.State = Waiting
	}
	return k, nil
}

// New is a task to be submitted.
type New struct {
	ID      string
	Payload []byte
	Begun   bool // its first attempt is written with it
}

// Submit adds a task. The same task twice is one: whoever takes over may submit
// all again.
func (q *Queue) Submit(ctx context.Context, id string, payload []byte) error {
	return q.SubmitAll(ctx, []New{{ID: id, Payload: payload}})
}

// SubmitAll adds tasks, several at a time. Where it fails some may be in.
func (q *Queue) SubmitAll(ctx context.Context, list []New) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	add := make([]*kept, 0, len(list))
	for _, n := range list {
		if err := n.check(); err != nil {
			return err
		}
		if k := q.tasks[n.ID]; k == nil {
			add = append(add, &kept{Task: Task{ID: n.ID, State: Waiting, Payload: n.Payload}, written: n.Begun})
		} else if !bytes.Equal(k.Payload, n.Payload) {
			return api.E(api.Exists, "submit", n.ID, "there is another task of this id")
		}
	}
	err := several(len(add), func(i int) error {
		k, waiting := add[i], add[i].Task
		if !k.written {
			return q.write(ctx, k, waiting)
		}
		err := q.write(ctx, k, waiting.begun())
		k.Task = waiting
		return err
	})
	for _, k := range add {
		if k.version != 0 {
			q.tasks[k.ID] = k
		}
	}
	return err
}

// begun is t with one attempt more.
func (t Task) begun() Task {
	t.State, t.Attempt = Running, t.Attempt+1
	return t
}

func (n *New) check() error {
	if n.ID == "" || len(n.ID) > 128 || strings.ContainsAny(n.ID, "/\x00") || n.ID == "." || n.ID == ".." {
		return api.E(api.Invalid, "submit", n.ID, "an id is a file name of 1 to 128 bytes")
	}
	if len(n.Payload) > maxTask {
		return api.E(api.TooLarge, "submit", n.ID, "a payload of %d bytes; at most %d, put more into a file", len(n.Payload), maxTask)
	}
	return nil
}

// write makes t the task's content, in the store and then here.
func (q *Queue) write(ctx context.Context, k *kept, t Task) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	v, err := q.s.Put(ctx, q.dir+"/"+t.ID, b, k.version)
	if taken(err) { // by ourselves, where an answer was lost, or by a new leader
		have, now, gerr := q.s.Get(ctx, q.dir+"/"+t.ID)
		if gerr != nil || !bytes.Equal(have, b) {
			return err
		}
		v, err = now, nil
	}
	if err != nil {
		return err
	}
	k.Task, k.version = t, v
	return nil
}

// Acquire gives out the first waiting task; ok is false when there is none.
func (q *Queue) Acquire(ctx context.Context) (t Task, ok bool, err error) {
	list, err := q.AcquireSome(ctx, 1)
	if len(list) == 0 {
		return Task{}, false, err
	}
	return list[0], true, nil
}

// AcquireSome gives out the first waiting tasks, at most max. What is to be written for
// that is written several at a time: a store takes what comes together in one step. Where it fails, those that it
// returns are given out all the same.
func (q *Queue) AcquireSome(ctx context.Context, max int) ([]Task, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var waiting []*kept
	for _, k := range q.tasks {
		if k.State == Waiting {
			waiting = append(waiting, k)
		}
	}
	slices.SortFunc(waiting, func(a, b *kept) int { return strings.Compare(a.ID, b.ID) })
	waiting = waiting[:min(len(waiting), max)]
	err := several(len(waiting), func(i int) error {
		_, _, err := q.give(ctx, waiting[i])
		return err
	})
	var out []Task
	for _, k := range waiting {
		if k.State == Running {
			out = append(out, k.Task)
		}
	}
	return out, err
}

// Again gives out a task that is under way once more, beside the attempt that
// takes so long; ok is false when it is not under way any more.
func (q *Queue) Again(ctx context.Context, id string) (t Task, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := q.tasks[id]
	if k == nil || k.State != Running {
		return Task{}, false, nil
	}
	return q.give(ctx, k)
}

func (q *Queue) give(ctx context.Context, k *kept) (Task, bool, error) {
	t := k.Task.begun()
	if k.written {
		k.Task, k.written = t, false
		return t, true, nil
	}
	if err := q.write(ctx, k, t); err != nil {
		return Task{}, false, err
	}
	return t, true, nil
}

// Done commits an attempt's result; first is false when another attempt was
// faster, whose result stays.
func (q *Queue) Done(ctx context.Context, id string, attempt int, result []byte) (first bool, err error) {
	if len(result) > maxTask {
		return false, api.E(api.TooLarge, "done", id, "a result of %d bytes; at most %d, put more into a file", len(result), maxTask)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	k, err := q.attempted("done", id, attempt)
	if err != nil {
		return false, err
	}
	if k.State == Done || k.State == Failed {
		return k.State == Done && k.Winner == attempt && bytes.Equal(k.Result, result), nil
	}
	t := k.Task
	t.State, t.Result, t.Winner = Done, result, attempt
	if err := q.write(ctx, k, t); err != nil {
		return false, err
	}
	return true, nil
}

// Failed says that an attempt failed. The task waits again, or has failed for
// good when that was the last of its tries. Its other attempts go on.
func (q *Queue) Failed(ctx context.Context, id string, attempt int, text string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	k, err := q.attempted("failed", id, attempt)
	if err != nil || k.State == Done || k.State == Failed {
		return err
	}
	if len(text) > 4096 {
		text = text[:4096]
	}
	t := k.Task
	t.State, t.Failure, t.Error = Waiting, t.Failure+1, text
	if t.Failure >= q.o.Tries {
		t.State = Failed
	}
	return q.write(ctx, k, t)
}

// Back says that an attempt ended and nobody can say whether the task is at fault:
// its node was lost, or it was evicted. The task waits again, and no try is used.
func (q *Queue) Back(ctx context.Context, id string, attempt int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	k, err := q.attempted("back", id, attempt)
	if err != nil || k.State != Running {
		return err
	}
	t := k.Task
	t.State, t.Returns = Waiting, t.Returns+1
	return q.write(ctx, k, t)
}

// Redo says that what the result of a task names is gone: the task waits again, to
// be done by a later attempt. winner is the attempt whose result it was; another
// one's stays.
func (q *Queue) Redo(ctx context.Context, id string, winner int) (redo bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k, err := q.attempted("redo", id, winner)
	if err != nil || k.State != Done || k.Winner != winner {
		return false, err
	}
	t := k.Task
	t.State, t.Result, t.Winner, t.Returns = Waiting, nil, 0, t.Returns+1
	if err := q.write(ctx, k, t); err != nil {
		return false, err
	}
	return true, nil
}

func (q *Queue) attempted(op, id string, attempt int) (*kept, error) {
	k := q.tasks[id]
	if k == nil {
		return nil, api.E(api.NotFound, op, id, "no such task")
	}
	if attempt < 1 || attempt > k.Attempt {
		return nil, api.E(api.Invalid, op, id, "attempt %d was not given out; the last is %d", attempt, k.Attempt)
	}
	return k, nil
}

// Tasks are all of them, by id.
func (q *Queue) Tasks() []Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]Task, 0, len(q.tasks))
	for _, k := range q.tasks {
		out = append(out, k.Task)
	}
	slices.SortFunc(out, func(a, b Task) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Count is how many tasks are in a state.
func (q *Queue) Count(s State) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, k := range q.tasks {
		if k.State == s {
			n++
		}
	}
	return n
}
