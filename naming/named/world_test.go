package named

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// world is some nodes that compete for one realm, clients that go to whoever
// leads, and trouble.
type world struct {
	t     *testing.T
	realm string
	hooks hooks
	start time.Time

	planted bool          // the hooks are a defect that must be found
	harm    time.Duration // how long a harm lasts at most

	mu    sync.Mutex
	hosts map[string]*host
	dead  []*host
	boot  uint32

	hmu     sync.Mutex
	history []porcupine.Operation
	acked   map[uint64]input // by version
	ids     atomic.Int64     // of clients; one that was left without an answer is used no more
	values  atomic.Int64
	terms   map[int64]bool
}

func newWorld(t *testing.T, h hooks, seed uint64) *world {
	w := &world{t: t, realm: newRealm(t), hooks: h, start: time.Now(), hosts: make(map[string]*host), acked: make(map[uint64]input), terms: make(map[int64]bool), harm: 2400 * time.Millisecond}
	for _, n := range []string{"na", "nb", "nc"} {
		w.startHost(n)
	}
	t.Logf("seed %d", seed)
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, h := range w.hosts {
			wg.Go(func() { h.end() })
		}
		for _, h := range w.dead {
			wg.Go(func() { h.end() })
		}
		wg.Wait()
	})
	return w
}

func (h *host) end() {
	h.line.resume()
	h.line.mode.Store(whole)
	h.Close()
}

// startHost starts a node, which after a crash has another boot.
func (w *world) startHost(name string) {
	h := &host{line: newLine(w.t)}
	hooks := w.hooks
	hooks.stop = h.line.wait
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boot++
	var err error
	h.Trees, err = NewTrees(Config{Etcd: h.line, Node: name, Boot: w.boot, Logger: slog.New(slog.DiscardHandler), LeaseTTL: time.Second,
		WriteTimeout: 600 * time.Millisecond, hooks: hooks})
	if err != nil {
		w.t.Error(err)
		return
	}
	w.hosts[name] = h
}

func (w *world) host(name string) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[name]
}

var names = []string{"na", "nb", "nc"}

// root finds the tree the way a client does: it asks somebody and is sent on.
func (w *world) root(ctx context.Context, rng *rand.Rand) (tree.File, error) {
	fs, err := w.host(names[rng.IntN(3)]).Tree(ctx, w.realm)
	var nl *NotLeader
	if errors.As(err, &nl) {
		fs, err = w.host(nl.Node).Tree(ctx, w.realm)
	}
	if err != nil {
		return nil, err
	}
	w.hmu.Lock()
	w.terms[fs.(*realmFS).term.epoch] = true
	w.hmu.Unlock()
	return fs.Attach(ctx, as(w.realm, "u"), "", nil)
}

// do runs one operation.
func do(ctx context.Context, root tree.File, in input) (out output) {
	var a tree.Attr
	var err error
	p := tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: []byte(in.value)}
	switch in.kind {
	case opGet:
		var data []byte
		a, data, err = root.(tree.EntryGetter).GetEntry(ctx, in.file, 1<<20)
		out.value = string(data)
	case opList:
		var page []tree.Dirent
		page, err = root.ReadDir(ctx, in.file+".", members)
		for _, e := range page {
			if strings.HasPrefix(e.Name, in.file+".") {
				out.there[member(e.Name)] = true
			}
		}
	case opRename:
		err = root.Rename(ctx, in.file, root, in.to)
	case opAppend:
		p.Append = true
		a, err = root.Put(ctx, in.file, p)
	case opCAS:
		p.If = &in.ifVer
		a, err = root.Put(ctx, in.file, p)
	case opCreate:
		p.Exclusive = true
		a, err = root.Put(ctx, in.file, p)
	case opRemove:
		err = root.Remove(ctx, in.file, false)
	default:
		a, err = root.Put(ctx, in.file, p)
	}
	out.kind, out.version = api.KindOf(err), a.Version
	switch out.kind {
	case "", api.NotFound, api.Exists, api.Conflict:
	default:
		out.unknown = true
	}
	return out
}

// client is one that does one operation after the other. Like a connection it
// stays with a tree that it found until that fails.
type client struct {
	w        *world
	id       int
	rng      *rand.Rand
	root     tree.File
	seen     map[string]uint64
	reads    bool          // and does nothing else
	patience time.Duration // for one operation
}

func (w *world) newClient(rng *rand.Rand) *client {
	return &client{w: w, id: int(w.ids.Add(1)), rng: rng, seen: make(map[string]uint64), patience: 400 * time.Millisecond}
}

type reply struct {
	out  output
	sent bool
	root tree.File
}

// try finds a tree if need be and does an operation.
func (w *world) try(ctx context.Context, root tree.File, rng *rand.Rand, in input) (a reply) {
	if a.root = root; root == nil {
		var err error
		if a.root, err = w.root(ctx, rng); err != nil {
			return reply{}
		}
	}
	a.out, a.sent = do(ctx, a.root, in), true
	return a
}

// once does one operation within a time and records it.
func (c *client) once(in input) {
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	defer cancel()
	done := make(chan reply, 1)
	call := time.Since(c.w.start).Nanoseconds()
	root, rng := c.root, rand.New(rand.NewPCG(c.rng.Uint64(), 0))
	go func() { done <- c.w.try(ctx, root, rng, in) }()
	// Where even finding the leader hangs, the operation may still come.
	a := reply{out: output{unknown: true}, sent: true}
	select {
	case a = <-done:
	case <-ctx.Done():
	}
	if c.root = a.root; a.out.unknown {
		c.root = nil
	}
	if !a.sent || a.out.unknown && (in.kind == opGet || in.kind == opList) {
		return
	}
	c.w.record(porcupine.Operation{ClientId: c.id, Input: in, Call: call, Output: a.out, Return: time.Since(c.w.start).Nanoseconds()})
	switch {
	case a.out.unknown:
		c.id = int(c.w.ids.Add(1))
	case a.out.version != 0:
		c.seen[in.file] = a.out.version
	}
}

func (w *world) record(o porcupine.Operation) {
	in, out := o.Input.(input), o.Output.(output)
	if out.unknown {
		o.Return = int64(1) << 62
	}
	w.hmu.Lock()
	defer w.hmu.Unlock()
	w.history = append(w.history, o)
	if out.version != 0 && in.kind != opGet {
		w.acked[out.version] = in
	}
}

// period is how long the clients use the same files: longer than a change of
// leaders, and so short that no file's history gets long.
const period = 4 * time.Second

// work does random operations.
func (c *client) work(ctx context.Context) {
	w, rng := c.w, c.rng
	for ctx.Err() == nil {
		in := c.onFile()
		if rng.IntN(3) == 0 {
			in = c.onGroup()
		}
		switch in.kind {
		case opPut, opAppend, opCAS, opCreate:
			in.value = strconv.FormatInt(w.values.Add(1), 36) + "."
		}
		c.once(in)
		time.Sleep(time.Duration(rng.IntN(6)) * time.Millisecond)
	}
}

// onFile is an operation on one of a few files that keep their names.
func (c *client) onFile() input {
	in := input{file: fmt.Sprint("f", int(time.Since(c.w.start)/period), "-", c.rng.IntN(6))}
	switch n := c.rng.IntN(20); {
	case c.reads, c.w.planted && n == 19: // a file that was removed hides what is written late
	case n < 10:
	case n < 13:
		in.kind = opPut
	case n < 15:
		in.kind = opAppend
	case n < 17:
		if in.ifVer = c.seen[in.file]; in.ifVer != 0 {
			in.kind = opCAS
		}
	case n < 19:
		in.kind = opCreate
	default:
		in.kind = opRemove
	}
	return in
}

// onGroup is an operation on files that are renamed. There are many groups, so
// that no group's history gets long: the checker cannot take its files apart.
func (c *client) onGroup() input {
	group := fmt.Sprint("g", int(time.Since(c.w.start)/period), "-", c.rng.IntN(16))
	names := c.rng.Perm(members)
	file := func(i int) string { return group + "." + string(rune('a'+names[i])) }
	in := input{file: file(0)}
	switch n := c.rng.IntN(20); {
	case n < 7:
		in.kind, in.file = opList, group
	case n < 11, c.reads:
	case n < 14:
		in.kind = opPut
	case n < 15:
		in.kind = opCreate
	case n < 19:
		in.kind, in.to = opRename, file(1)
	default:
		in.kind = opRemove
	}
	return in
}

// readAll reads every file once more, when all is healed.
func (w *world) readAll(rng *rand.Rand) {
	c := w.newClient(rng)
	last := make(map[input]bool)
	for _, o := range w.history {
		switch in := o.Input.(input); in.kind {
		case opList:
			last[in] = true
		default:
			last[input{kind: opGet, file: in.file}] = true
			if in.to != "" {
				last[input{kind: opGet, file: in.to}] = true
			}
		}
	}
	for in := range last {
		for n, end := len(w.history), time.Now().Add(10*time.Second); len(w.history) == n; {
			if time.Now().After(end) {
				if !w.planted {
					w.t.Errorf("%s cannot be read although all is healed", in.file)
				}
				return
			}
			c.once(in)
		}
	}
}

// trouble does harm to whoever leads, one harm after the other, and heals it.
func (w *world) trouble(ctx context.Context, rng *rand.Rand, kinds []string) {
	for i := 0; len(kinds) > 0 && sleep(ctx, time.Duration(150+rng.IntN(350))*time.Millisecond); i++ {
		name, err := w.host(names[rng.IntN(3)]).Leader(ctx, w.realm)
		if err != nil || name == "" {
			continue
		}
		h := w.host(name)
		last := 200*time.Millisecond + time.Duration(rng.Int64N(int64(w.harm-200*time.Millisecond)))
		if w.planted {
			last = w.harm
		}
		switch kinds[i%len(kinds)] {
		case "deaf": // asks nothing, hears nothing
			h.line.mode.Store(dropAsks)
			sleep(ctx, last)
			h.line.mode.Store(whole)
		case "mute": // is heard, hears nothing
			h.line.mode.Store(dropAnswers)
			sleep(ctx, last)
			h.line.mode.Store(whole)
		case "pause": // SIGSTOP
			h.line.pause()
			sleep(ctx, last)
			h.line.resume()
		case "kill": // and started again; the dead answer nothing, from memory neither
			h = w.retire(h)
			h.line.mode.Store(dropAsks)
			h.line.pause()
			w.startHost(name)
		case "close":
			w.retire(h).Close()
			w.startHost(name)
		}
	}
	for _, n := range names {
		w.host(n).line.resume()
		w.host(n).line.mode.Store(whole)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// run lets clients and trouble loose for a while.
func (w *world) run(d time.Duration, seed uint64, kinds []string) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 9 {
		c := w.newClient(rand.New(rand.NewPCG(seed, uint64(i))))
		// Some only read and so find no reason to leave a leader that is none;
		// some wait for an answer as long as it takes.
		c.reads = i%3 == 1
		if i%3 == 2 {
			c.patience = 5 * time.Second
		}
		wg.Go(func() { c.work(ctx) })
	}
	wg.Go(func() { w.trouble(ctx, rand.New(rand.NewPCG(seed, 100)), kinds) })
	wg.Wait()
	// What is in memory alone does not count: the next leader reads etcd.
	for _, n := range names {
		l := w.host(n).line
		eventually(w.t, "no request is under way", func() bool { return l.asked.Load() == l.answered.Load() })
	}
	for _, n := range names {
		w.retire(w.host(n)).Close()
		w.startHost(n)
	}
	w.readAll(rand.New(rand.NewPCG(seed, 101)))
}

// retire keeps a host for the end of the test.
func (w *world) retire(h *host) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = append(w.dead, h)
	return h
}

func seed() uint64 {
	if s, err := strconv.ParseUint(os.Getenv("SIGMA_SEED"), 10, 64); err == nil {
		return s
	}
	return rand.Uint64() >> 32
}
