package mr

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
)

// plain is a job in one process, with its tables in memory: what the same
// functions cost without procs, files between them, and a network.
type plain struct {
	job     Job
	threads int
	bins    int
	size    int64 // of splits; 0 by the input

	tables []*table
	sorted [][]item
}

// PlainReport is what a plain run says of itself.
type PlainReport struct {
	Files   int           `json:"files"`
	Bytes   int64         `json:"bytes"`
	Records int64         `json:"records"`
	Keys    int64         `json:"keys"`
	Map     time.Duration `json:"map"`
	Reduce  time.Duration `json:"reduce"`
	Wall    time.Duration `json:"wall"`
	CPU     time.Duration `json:"cpu"`
}

// run reads files of the machine and calls open for the output of each bin.
func (p *plain) run(ctx context.Context, paths []string, open func(bin int) (output, error)) (r PlainReport, err error) {
	begin := time.Now()
	files, err := find(ctx, disk{}, paths)
	if err != nil {
		return r, err
	}
	for _, f := range files {
		r.Bytes += f.size
	}
	r.Files = len(files)
	if p.size == 0 {
		p.size = splitSize(r.Bytes, 4*p.threads)
	}
	splits, err := cut(ctx, disk{}, files, evenly(p.size, 0))
	if err != nil {
		return r, err
	}
	defer p.close()
	if err := p.mapAll(ctx, splits, &r.Records); err != nil {
		return r, err
	}
	r.Map = time.Since(begin)
	if err := p.reduceAll(open, &r.Keys); err != nil {
		return r, err
	}
	r.Wall = time.Since(begin)
	r.Reduce = r.Wall - r.Map
	r.CPU, _ = job.Usage()
	return r, nil
}

// mapAll maps splits in threads, each with a table of its own, and sorts these.
func (p *plain) mapAll(ctx context.Context, splits []split, records *int64) error {
	var next atomic.Int64
	p.tables, p.sorted = make([]*table, p.threads), make([][]item, p.threads)
	return job.Each(p.threads, func(w int) (err error) {
		t := &mapTask{s: disk{}, job: p.job, bins: p.bins, limit: 1 << 31, name: func(int) string { return os.DevNull }} // which is there: a full table is an error
		t.begin()
		p.tables[w] = t.table
		for {
			i := int(next.Add(1)) - 1
			if i >= len(splits) {
				break
			}
			if err := t.continueWith(ctx, splits[i]); err != nil {
				return err
			}
		}
		atomic.AddInt64(records, t.rec.count)
		p.sorted[w] = t.table.sort()
		return nil
	})
}

func (p *plain) close() {
	for _, t := range p.tables {
		if t != nil {
			t.close()
		}
	}
}

// reduceAll reduces bins in threads.
func (p *plain) reduceAll(open func(int) (output, error), keys *int64) error {
	var next atomic.Int64
	return job.Each(p.threads, func(int) error {
		for {
			bin := int(next.Add(1)) - 1
			if bin >= p.bins {
				return nil
			}
			m, err := newMerge(p.segments(bin), 0)
			if err != nil {
				return err
			}
			out, err := open(bin)
			if err != nil {
				return err
			}
			t := &reduceTask{job: p.job}
			if err := t.reduceTo(m, out); err != nil {
				out.Abandon()
				return err
			}
			if err := out.Close(); err != nil {
				return err
			}
			atomic.AddInt64(keys, t.stats.InPairs)
		}
	})
}

// segments are the parts of the tables that belong to a bin.
func (p *plain) segments(bin int) (out []*segment) {
	for i, t := range p.tables {
		list := p.sorted[i]
		from, _ := slices.BinarySearchFunc(list, bin, func(it item, bin int) int { return int(t.pairs[it.at].bin) - bin })
		var buf []byte
		for ; from < len(list) && t.pairs[list[from].at].bin == uint32(bin); from++ {
			p := &t.pairs[list[from].at]
			k, v := t.key(p), t.val(p)
			buf = binary.AppendUvarint(buf, uint64(len(k)))
			buf = binary.AppendUvarint(buf, uint64(len(v)))
			buf = append(append(buf, k...), v...)
		}
		out = append(out, &segment{buf: buf})
	}
	return out
}

// plainMain is a job's program on a machine.
func plainMain(args []string, apps []App, out, errw io.Writer) int {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(errw)
	threads := f.Int("j", runtime.NumCPU(), "threads")
	bins := f.Int("r", defReducers, "parts of the output")
	dir := f.String("o", "", "directory for the output, new; standard output without it")
	split := f.Int64("split", 0, "bytes of a split; 0 by the size of the input")
	report := f.Bool("report", false, "say on standard error, as JSON, what it took")
	f.Usage = func() {
		fmt.Fprintf(errw, "usage: %s APP [flags] [ARGS …] -- FILE …\n\nRuns a job over files of this machine, in one process; sigmactl mr run runs it on σOS.\n\n", filepath.Base(os.Args[0]))
		for _, a := range apps {
			fmt.Fprintf(errw, "  %-8s %s\n", a.Name, a.Help)
		}
		fmt.Fprintln(errw)
		f.PrintDefaults()
	}
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
		f.Usage()
		return 2
	}
	app, err := choose(apps, args[0])
	files := slices.Index(args, "--")
	if err == nil && files < 0 {
		err = api.E(api.Invalid, app.Name, "", "the files go behind --")
	}
	if err == nil {
		if ferr := f.Parse(args[1:files]); ferr != nil {
			return 2
		}
		err = plainRun(app, f.Args(), args[files+1:], &plain{threads: max(*threads, 1), bins: max(*bins, 1), size: *split}, *dir, *report, out, errw)
	}
	if err != nil {
		fmt.Fprintf(errw, "%s: %v\n", filepath.Base(os.Args[0]), err)
		return 1
	}
	return 0
}
