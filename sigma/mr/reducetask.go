package mr

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"sigmaos/api"
)

// runFile is a run that a reducer reads.
type runFile struct {
	path string
	size int64
	bins int    // that it has
	bin  int    // the one to read
	of   string // the map task that made it; "" for one of our own
}

// reduceTask merges one bin of many runs and runs Reduce over it. No more than
// fan runs are read at a time: where there are more, they are merged to longer
// ones first.
type reduceTask struct {
	s     space
	job   Job
	runs  []runFile
	limit int                // bytes for reading
	fan   int                // 0 is what limit has room for
	temp  func(i int) string // names for runs of our own
	out   string

	temps int
	key   []byte
	stats Stats
}

const (
	readMin  = 32 << 10 // bytes to read at a time from one run
	readMax  = 1 << 20
	fanMost  = 128
	outBytes = 512 << 10
)

// gone is the error of a run that cannot be read.
type gone struct {
	of  string // the map task
	err error
}

func (g *gone) Error() string { return fmt.Sprintf("what map %s made: %v", g.of, g.err) }
func (g *gone) Unwrap() error { return g.err }

func (t *reduceTask) run(ctx context.Context) error {
	if t.fan == 0 {
		t.fan = min(max(t.limit/readMin, 4), fanMost)
	}
	list := t.runs
	for len(list) > t.fan {
		var next []runFile
		for part := range slices.Chunk(list, t.fan) { // neighbours, so that the order stays
			r, err := t.mergeToRun(ctx, part)
			if err != nil {
				return err
			}
			next = append(next, r)
		}
		list = next
	}
	return t.with(ctx, list, func(m *merge) error { return t.reduce(ctx, m) })
}

// with merges runs.
func (t *reduceTask) with(ctx context.Context, list []runFile, fn func(*merge) error) error {
	size := readMax
	if len(list) > 0 {
		size = min(max(t.limit/len(list), readMin), readMax)
	}
	segs, closeAll, err := t.open(ctx, list, size)
	defer closeAll()
	if err != nil {
		return err
	}
	m, err := newMerge(segs, size)
	if err != nil {
		return t.lost(list, err)
	}
	return t.lost(list, fn(m))
}

// lost names the map task of a run that turned out to be damaged or gone.
func (t *reduceTask) lost(list []runFile, err error) error {
	e, ok := err.(*readError)
	if !ok {
		return err
	}
	for _, r := range list {
		if r.path == e.path {
			return &gone{r.of, e.err}
		}
	}
	return err
}

// readError is an error of reading a run.
type readError struct {
	path string
	err  error
}

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// open opens runs and reads their beginnings, several at a time.
func (t *reduceTask) open(ctx context.Context, list []runFile, size int) (segs []*segment, closeAll func(), err error) {
	defer clock(&t.stats.Read)()
	const atOnce = 8
	segs = make([]*segment, len(list))
	files := make([]input, len(list))
	errs := make([]error, atOnce)
	var wg sync.WaitGroup
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < len(list) && errs[w] == nil; i += atOnce {
				r := list[i]
				f, err := t.s.Open(ctx, r.path)
				if err == nil {
					files[i] = f
					segs[i], err = openSegment(f, r.path, r.size, r.bin, r.bins)
				}
				if err == nil {
					err = segs[i].fill(1, size)
				}
				if err != nil {
					errs[w] = &gone{r.of, err}
				}
			}
		})
	}
	wg.Wait()
	for _, s := range segs {
		if s != nil { // from here on, one goroutine reads
			t.stats.InBytes += s.end - s.off + int64(len(s.buf))
			s.in = timedReader{s.in, s.name, &t.stats.Read}
		}
	}
	closeAll = func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}
	for _, e := range errs {
		if e != nil {
			return segs, closeAll, e
		}
	}
	return segs, closeAll, nil
}

// mergeToRun makes one run of one bin of several.
func (t *reduceTask) mergeToRun(ctx context.Context, list []runFile) (runFile, error) {
	r := runFile{path: t.temp(t.temps), bins: 1}
	t.temps++
	err := t.with(ctx, list, func(m *merge) (err error) {
		r.size, err = writeRun(ctx, t.s, r.path, 1, &t.stats, func(w *runWriter) error {
			for s := m.top(); s != nil; s = m.top() {
				if err := w.pair(0, s.key, s.value); err != nil {
					return err
				}
				if err := m.pop(); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	})
	t.stats.OutBytes = 0 // only the output counts
	return r, err
}

// reduce writes what Reduce makes of the merged pairs.
func (t *reduceTask) reduce(ctx context.Context, m *merge) error {
	stop := clock(&t.stats.Write)
	f, err := t.s.Create(ctx, t.out)
	stop()
	if err != nil {
		return err
	}
	out := timedOutput{f, &t.stats.Write, &t.stats.OutBytes}
	if err = t.reduceTo(m, out); err != nil {
		out.Abandon()
		return err
	}
	return out.Close()
}

func (t *reduceTask) reduceTo(m *merge, out output) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked("reduce", fmt.Sprintf("key %.64q", t.key), p)
		}
	}()
	lines := &lines{w: out}
	err = m.eachKey(func(key []byte, v *Values) error {
		t.key = key
		t.stats.InPairs++
		if err := t.job.Reduce(key, v, lines.emit); err != nil {
			if v.err != nil {
				return v.err
			}
			return api.E(api.Invalid, "reduce", fmt.Sprintf("key %.64q", key), "%v", err)
		}
		return lines.err
	})
	if err != nil {
		return err
	}
	return lines.flush()
}

// lines writes pairs as lines of text.
type lines struct {
	w   output
	buf []byte
	err error
}

func (l *lines) emit(key, value []byte) {
	l.buf = append(l.buf, key...)
	if value != nil {
		l.buf = append(l.buf, '\t')
		l.buf = append(l.buf, value...)
	}
	l.buf = append(l.buf, '\n')
	if len(l.buf) >= outBytes && l.err == nil {
		l.err = l.flush()
	}
}

func (l *lines) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}
