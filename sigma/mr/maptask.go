package mr

import (
	"context"
	"fmt"

	"sigmaos/api"
)

// mapTask runs Map over a split. Its pairs go into runs, a file each time that
// the table is full.
type mapTask struct {
	s     space
	job   Job
	split split
	bins  int
	limit int                // of the table, in bytes
	name  func(i int) string // of the i-th run

	table *table
	rec   *records
	in    string // the function that runs: Map or Combine
	runs  []int64
	stats Stats
}

// run leaves the sizes of the runs in t.
func (t *mapTask) run(ctx context.Context) error {
	t.begin()
	defer t.table.close()
	if err := t.continueWith(ctx, t.split); err != nil {
		return err
	}
	return t.guarded(func() error { return t.spill(ctx) })
}

// continueWith maps a split into the table, which begin has made.
func (t *mapTask) continueWith(ctx context.Context, s split) error {
	return t.guarded(func() error {
		return eachInput(ctx, t.s, s, &t.stats.Read, func(g Range, in input) error { return t.one(ctx, g, in) })
	})
}

func (t *mapTask) begin() {
	fold := t.job.Combine
	if fold != nil {
		fold = func(acc, value []byte) []byte {
			t.in = "combine"
			acc = t.job.Combine(acc, value)
			t.in = "map"
			return acc
		}
	}
	t.table, t.rec, t.in = newTable(t.bins, t.limit, fold), newRecords(), "map"
}

// guarded makes a panic of Map or Combine an error that says where it was.
func (t *mapTask) guarded(fn func() error) (err error) {
	defer func() {
		t.stats.InBytes, t.stats.InPairs = t.rec.bytes, t.rec.count
		if p := recover(); p != nil {
			err = panicked(t.in, t.where(), p)
		}
	}()
	return fn()
}

func (t *mapTask) where() string {
	return fmt.Sprintf("%s, record at byte %d", t.rec.at.File, t.rec.at.Offset)
}

// one maps a range.
func (t *mapTask) one(ctx context.Context, g Range, in input) error {
	var failed error // of emit
	emit := func(key, value []byte) {
		if failed != nil {
			return
		}
		if t.table.full() {
			if failed = t.spill(ctx); failed != nil {
				return
			}
		}
		failed = t.table.add(key, value)
	}
	return t.rec.each(timedInput{in, &t.stats.Read}, g, func(rec Record) error {
		if err := t.job.Map(rec, emit); err != nil {
			return api.E(api.Invalid, "map", t.where(), "%v", err)
		}
		return failed
	})
}

// spill writes the table as a run, and empties it.
func (t *mapTask) spill(ctx context.Context) error {
	if len(t.table.pairs) == 0 {
		return nil
	}
	stop := clock(&t.stats.Sort)
	sorted := t.table.sort()
	stop()
	size, err := t.write(ctx, t.name(len(t.runs)), func(w *runWriter) error {
		for _, it := range sorted {
			p := &t.table.pairs[it.at]
			if err := w.pair(int(p.bin), t.table.key(p), t.table.val(p)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.runs = append(t.runs, size)
	t.table.reset()
	return nil
}

func (t *mapTask) write(ctx context.Context, path string, fn func(*runWriter) error) (int64, error) {
	return writeRun(ctx, t.s, path, t.bins, &t.stats, fn)
}

// writeRun makes a file of what fn writes.
func writeRun(ctx context.Context, s space, path string, bins int, stats *Stats, fn func(*runWriter) error) (int64, error) {
	stop := clock(&stats.Write)
	f, err := s.Create(ctx, path)
	stop()
	if err != nil {
		return 0, err
	}
	out := timedOutput{f, &stats.Write, &stats.OutBytes}
	w := newRunWriter(out, bins)
	size := int64(0)
	if err = fn(w); err == nil {
		size, err = w.finish()
	}
	if err != nil {
		out.Abandon()
		return 0, err
	}
	return size, out.Close()
}

// panicked is the error of a function that panics.
func panicked(fn, where string, p any) error {
	return api.E(api.Invalid, fn, where, "panic: %v%s", p, lineOfPanic())
}
