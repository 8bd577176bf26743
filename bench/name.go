package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// namer is a Cluster whose names can be used; it also puts into etcd as named
// does, with nothing around it.
type namer interface {
	Names() *sigma.Names
	EtcdProbe(ctx context.Context, q api.EtcdProbe) (api.EtcdProbed, error)
}

const (
	nameSize   = 64  // bytes of a file's content, and of a raw put
	nameRounds = 200 // of each, in turn
	bigDir     = 100_000
)

// Name measures a realm's name space: reads and writes of small files against
// raw gets and puts of etcd in the same rounds, a directory of 100,000, renames and
// watches, from one client and from 64, and reads of scratch against the disk.
func Name(ctx context.Context, c Cluster, o Options) (Result, error) {
	nc, ok := c.(namer)
	if !ok {
		return Result{}, api.E(api.Unsupported, "bench", "name", "this client has no names")
	}
	big := bigDir
	if o.N > 0 {
		big = o.N
	}
	b := &nameBench{ctx: ctx, n: nc.Names(), probe: nc.EtcdProbe, log: o.Log, big: big}
	dir := fmt.Sprintf("/bench-%d", now())
	if err := b.n.Mkdir(ctx, dir, 0o775); err != nil {
		return Result{}, err
	}
	b.dir = dir
	defer b.n.RemoveAll(context.WithoutCancel(ctx), dir)
	var rows []Result
	for _, step := range []func() ([]Result, error){b.whole, b.directory, b.rename, b.watch, b.many, b.scratch} {
		r, err := step()
		if err != nil {
			return Result{}, err
		}
		rows = append(rows, r...)
	}
	head := rows[0]
	head.Bench, head.Rows = "name", rows[1:]
	for i := range head.Rows {
		head.Rows[i].Bench = "name"
	}
	return head, nil
}

type nameBench struct {
	ctx   context.Context
	n     *sigma.Names
	probe func(ctx context.Context, q api.EtcdProbe) (api.EtcdProbed, error)
	log   interface{ Write([]byte) (int, error) }
	dir   string
	big   int
}

// timed measures fn, ms.
func timed(fn func() error) (float64, error) {
	begin := now()
	err := fn()
	return float64(now()-begin) / 1e6, err
}

func row(name, unit string, samples []float64) Result {
	r := Result{Row: name, Unit: unit}
	r.fill(samples)
	return r
}

func compare(r, with Result) Result {
	r.Against, r.AgainstValue = with.Row, with.P50
	if with.P50 > 0 {
		r.Ratio = r.Value / with.P50
	}
	return r
}

// whole reads and writes small files, one at a time, in turn with etcd.
func (b *nameBench) whole() ([]Result, error) {
	data := make([]byte, nameSize)
	path := b.dir + "/file"
	if _, err := b.n.PutFile(b.ctx, path, data); err != nil {
		return nil, err
	}
	var gets, creates, puts, raw, rawGets []float64
	for made := range nameRounds {
		p, err := b.probe(b.ctx, api.EtcdProbe{Puts: 1, Size: nameSize})
		if err != nil {
			return nil, err
		}
		raw = append(raw, float64(p.PutNS[0])/1e6)
		for _, m := range []struct {
			out *[]float64
			do  func() error
		}{
			{&creates, func() error {
				_, err := b.n.PutFile(b.ctx, fmt.Sprintf("%s/c%d", b.dir, made), data, sigma.Exclusive())
				return err
			}},
			{&puts, func() error { _, err := b.n.PutFile(b.ctx, path, data); return err }},
		} {
			ms, err := timed(m.do)
			if err != nil {
				return nil, err
			}
			*m.out = append(*m.out, ms)
		}
	}
	// Reads are in turn with raw reads: one behind a write has that one's wait for the
	// disk in its caches.
	for range nameRounds {
		p, err := b.probe(b.ctx, api.EtcdProbe{Gets: 1})
		if err != nil {
			return nil, err
		}
		ms, err := timed(func() error { _, _, err := b.n.GetFile(b.ctx, path); return err })
		if err != nil {
			return nil, err
		}
		gets, rawGets = append(gets, ms), append(rawGets, float64(p.GetNS[0])/1e6)
	}
	put, get := row("etcd put", "ms", raw), row("etcd get", "ms", rawGets)
	put.Note, get.Note = "one key, from inside the same sigmad", "linearizable, from inside the same sigmad"
	return []Result{
		compare(row("get-cached", "ms", gets), get), compare(row("create", "ms", creates), put), compare(row("put", "ms", puts), put), put, get,
	}, nil
}

// directory fills one with 100,000 files, lists it, and compares the last create
// with the first.
func (b *nameBench) directory() ([]Result, error) {
	full, empty := b.dir+"/full", b.dir+"/empty"
	for _, d := range []string{full, empty} {
		if err := b.n.Mkdir(b.ctx, d, 0o775); err != nil {
			return nil, err
		}
	}
	begin := now()
	if err := parallel(64, b.big, func(i int) error {
		_, err := b.n.PutFile(b.ctx, fmt.Sprintf("%s/%06d", full, i), nil, sigma.Exclusive())
		return err
	}); err != nil {
		return nil, err
	}
	fill := float64(now()-begin) / 1e9
	var lists []float64
	for range 5 {
		ms, err := timed(func() error {
			l, err := b.n.ReadDir(b.ctx, full, "", 0)
			if err == nil && len(l) != b.big {
				err = fmt.Errorf("bench: %d names of %d are listed", len(l), b.big)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		lists = append(lists, ms)
	}
	var first, last []float64
	var firstCost, lastCost api.EtcdProbed
	for i := range nameRounds {
		for _, m := range []struct {
			dir  string
			out  *[]float64
			cost *api.EtcdProbed
		}{{empty, &first, &firstCost}, {full, &last, &lastCost}} {
			before, err := b.probe(b.ctx, api.EtcdProbe{})
			if err != nil {
				return nil, err
			}
			ms, err := timed(func() error {
				_, err := b.n.PutFile(b.ctx, fmt.Sprintf("%s/x%06d", m.dir, i), nil, sigma.Exclusive())
				return err
			})
			if err != nil {
				return nil, err
			}
			after, err := b.probe(b.ctx, api.EtcdProbe{})
			if err != nil {
				return nil, err
			}
			*m.out = append(*m.out, ms)
			m.cost.Writes += after.Writes - before.Writes
			m.cost.Bytes += after.Bytes - before.Bytes
		}
		if err := b.n.Remove(b.ctx, fmt.Sprintf("%s/x%06d", empty, i)); err != nil { // it stays empty
			return nil, err
		}
	}
	one, hundred := row("create-1st", "ms", first), row("create-100kth", "ms", last)
	one.Note = fmt.Sprintf("%.2f etcd writes, %d bytes each", float64(firstCost.Writes)/nameRounds, firstCost.Bytes/nameRounds)
	hundred.Note = fmt.Sprintf("%.2f etcd writes, %d bytes each", float64(lastCost.Writes)/nameRounds, lastCost.Bytes/nameRounds)
	list := row("list-100k", "ms", lists)
	list.Note = fmt.Sprintf("%d names; they were made by 64 at once in %.1f s, %.0f a second", b.big, fill, float64(b.big)/fill)
	return []Result{list, compare(hundred, one), one}, nil
}

// rename moves a file to and fro.
func (b *nameBench) rename() ([]Result, error) {
	a, c := b.dir+"/old", b.dir+"/new"
	if _, err := b.n.PutFile(b.ctx, a, make([]byte, nameSize)); err != nil {
		return nil, err
	}
	var out, raw []float64
	for range nameRounds {
		p, err := b.probe(b.ctx, api.EtcdProbe{Puts: 1, Size: nameSize})
		if err != nil {
			return nil, err
		}
		raw = append(raw, float64(p.PutNS[0])/1e6)
		ms, err := timed(func() error { return b.n.Rename(b.ctx, a, c) })
		if err != nil {
			return nil, err
		}
		out, a, c = append(out, ms), c, a
	}
	return []Result{compare(row("rename", "ms", out), row("etcd put", "ms", raw))}, nil
}

// watch measures from the call of a put to the event at a watcher.
func (b *nameBench) watch() ([]Result, error) {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	seen := make(chan int64, 16)
	ready := make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	path := b.dir + "/watched"
	if _, err := b.n.PutFile(ctx, path, nil); err != nil {
		return nil, err
	}
	go func() {
		done <- b.n.Watch(ctx, path, 0, func(_ uint64, ev []sigma.Event) error {
			once.Do(func() { close(ready) })
			t := now()
			for range ev {
				seen <- t
			}
			return nil
		})
	}()
	select {
	case <-ready:
	case err := <-done:
		return nil, err
	}
	var out []float64
	for range nameRounds {
		begin := now()
		if _, err := b.n.PutFile(ctx, path, make([]byte, nameSize)); err != nil {
			return nil, err
		}
		select {
		case t := <-seen:
			out = append(out, float64(t-begin)/1e6)
		case err := <-done:
			return nil, fmt.Errorf("bench: the watch ended: %w", err)
		case <-time.After(5 * time.Second):
			return nil, fmt.Errorf("bench: a change was not told")
		}
	}
	r := row("watch", "ms", out)
	r.Note = "from the call of a put to its event"
	return []Result{r}, nil
}

// many measures what 64 clients get through at once.
func (b *nameBench) many() ([]Result, error) {
	const clients, each = 64, 100
	data := make([]byte, nameSize)
	path := b.dir + "/file"
	rate := func(name string, do func(i int) error) (Result, error) {
		lat := make([]float64, clients*each)
		begin := now()
		err := parallel(clients, clients*each, func(i int) (err error) {
			lat[i], err = timed(func() error { return do(i) })
			return err
		})
		took := float64(now()-begin) / 1e9
		slices.Sort(lat)
		return Result{
			Row: name, Unit: "1/s", N: len(lat), Value: float64(len(lat)) / took,
			Note: fmt.Sprintf("64 callers at once; each waited %.2f ms (p50), %.2f ms (p99)", percentile(lat, 0.5), percentile(lat, 0.99)),
		}, err
	}
	get, err := rate("get-64", func(int) error { _, _, err := b.n.GetFile(b.ctx, path); return err })
	if err != nil {
		return nil, err
	}
	create, err := rate("create-64", func(i int) error {
		_, err := b.n.PutFile(b.ctx, fmt.Sprintf("%s/m%d", b.dir, i), data, sigma.Exclusive())
		return err
	})
	if err != nil {
		return nil, err
	}
	p, err := b.probe(b.ctx, api.EtcdProbe{Puts: clients * each, Size: nameSize, Callers: clients})
	if err != nil {
		return nil, err
	}
	raw := Result{Row: "etcd put-64", Unit: "1/s", N: clients * each, Value: float64(clients*each) / (float64(p.WallNS) / 1e9)}
	create.Against, create.AgainstValue, create.Ratio = raw.Row, raw.Value, create.Value/raw.Value
	return []Result{get, create, raw}, nil
}

// parallel calls fn for 0 … count-1 from several goroutines and returns the
// first error.
func parallel(callers, count int, fn func(i int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := 0
	for range callers {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= count || first != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := fn(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}
