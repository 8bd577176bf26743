package mr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

// workVar is the environment variable that makes a program a part of a job.
const workVar = "SIGMA_MR"

// work is what a proc of a job is told.
type work struct {
	Role    string        `json:"role"` // coordinator, map or reduce
	Job     string        `json:"job"`  // its directory
	ID      string        `json:"id,omitempty"`
	App     string        `json:"app,omitempty"`
	Args    []string      `json:"args,omitempty"`
	Task    string        `json:"task,omitempty"`
	Attempt int           `json:"attempt,omitempty"`
	Bins    int           `json:"bins,omitempty"`
	Mid     string        `json:"mid,omitempty"` // directory of intermediate files
	Memory  int64         `json:"memory,omitempty"`
	Limit   time.Duration `json:"limit,omitempty"`
	Spawned int64         `json:"spawned,omitempty"` // ns since 1970

	Split split `json:"split,omitempty"`

	Bin  int       `json:"bin,omitempty"`
	Out  string    `json:"out,omitempty"`
	Dirs []string  `json:"dirs,omitempty"`
	Runs []mapRuns `json:"runs,omitempty"`
}

// env is the environment of a proc that does w.
func (w work) env() []string {
	b, _ := json.Marshal(w)
	return []string{workVar + "=" + string(b)}
}

// mapRuns is what a reducer must know of a finished map.
type mapRuns struct {
	Task    string  `json:"t"`
	Dir     int     `json:"d"` // in Dirs
	Attempt int     `json:"a"`
	Sizes   []int64 `json:"s"`
}

// result is what a mapper or reducer reports as the data of its end.
type result struct {
	Dir   string  `json:"dir,omitempty"`  // map: where the runs are
	Runs  []int64 `json:"runs,omitempty"` // their sizes
	Out   string  `json:"out,omitempty"`  // reduce: the file
	Stats Stats   `json:"stats"`

	Lost  string `json:"lost,omitempty"`  // failed: the files of this map are gone
	Retry bool   `json:"retry,omitempty"` // failed: not by the functions' fault
}

// maxRuns is how many sizes a result has room for.
const maxRuns = 250

func runName(task string, attempt, i int) string { return fmt.Sprintf("m%s.a%d.%d", task, attempt, i) }

// tableShare is the part of a proc's memory that its table has.
const tableShare = 5

// runWork is the life of a mapper or reducer.
func runWork(w *work, apps []App, began time.Time) {
	ctx := context.Background()
	debug.SetMemoryLimit(w.Memory/4*3 - w.Memory/tableShare) // the table is beside the heap
	sigma.Started(ctx)
	time.AfterFunc(w.Limit, func() { // whoever started it may be gone
		leave(w, result{}, api.E(api.Invalid, w.Role, w.Task, "it took longer than the limit of %v for one attempt", w.Limit))
	})
	go job.Watch(ctx, w.Job)
	r, err := w.do(ctx, apps)
	if err == nil && len(r.Runs) > maxRuns {
		err = api.E(api.TooLarge, w.Role, w.Task, "its output is in %d runs; at most %d, give mappers more memory", len(r.Runs), maxRuns)
	}
	r.Stats.Start = time.Duration(began.UnixNano() - w.Spawned)
	r.Stats.Wall = time.Since(began)
	r.Stats.CPU, r.Stats.RSS = job.Usage()
	leave(w, r, err)
}

func (w *work) do(ctx context.Context, apps []App) (result, error) {
	app, err := choose(apps, w.App)
	if err != nil {
		return result{}, err
	}
	j, err := app.New(w.Args)
	if err != nil {
		return result{}, err
	}
	if w.Role == "reduce" {
		return w.reduce(ctx, j)
	}
	return w.mapSplit(ctx, j)
}

// mapSplit runs a mapper: its files are in the directory that Mid means here.
func (w *work) mapSplit(ctx context.Context, j Job) (r result, err error) {
	s := newRealm(sigma.Self().Names())
	place := sync.OnceValues(func() (string, error) { return w.place(ctx, s) })
	go place() // it is wanted when the table is full
	t := &mapTask{s: s, job: j, split: w.Split, bins: w.Bins, limit: int(w.Memory / tableShare),
		name: func(i int) string {
			dir, _ := place()
			return path.Join(dir, runName(w.Task, w.Attempt, i))
		}}
	err = t.run(ctx)
	r.Runs, r.Stats = t.runs, t.stats
	var perr error
	if r.Dir, perr = place(); perr != nil {
		err = perr
	}
	return r, err
}

// place makes the directory of intermediate files, and returns its path as others
// may use it. Where it fails, so will files in what it returns.
func (w *work) place(ctx context.Context, s realm) (string, error) {
	dir := w.Mid
	if strings.HasPrefix(dir, "/ux/") {
		abs, err := s.n.AbsPath(ctx, dir)
		if err != nil {
			return dir, err
		}
		dir = abs
	}
	return dir, s.MkdirAll(ctx, dir)
}

func (w *work) reduce(ctx context.Context, j Job) (r result, err error) {
	s := newRealm(sigma.Self().Names())
	r.Out = fmt.Sprintf("%s/r%s.a%d", w.Out, w.Task, w.Attempt)
	t := &reduceTask{s: s, job: j, limit: int(w.Memory / tableShare), out: r.Out}
	for _, m := range w.Runs {
		for i, size := range m.Sizes {
			t.runs = append(t.runs, runFile{path: path.Join(w.Dirs[m.Dir], runName(m.Task, m.Attempt, i)), size: size, bins: w.Bins, bin: w.Bin, of: m.Task})
		}
	}
	var dir string
	t.temp = func(i int) string {
		if dir == "" {
			dir, _ = w.place(ctx, s)
		}
		return fmt.Sprintf("%s/r%s.a%d.%d", dir, w.Task, w.Attempt, i)
	}
	err = t.run(ctx)
	r.Stats = t.stats
	return r, err
}

// leave reports and ends the proc.
func leave(w *work, r result, err error) {
	if err == nil {
		job.Leave(0, "", r)
	}
	r = result{Retry: job.Transient(err)}
	if g := (*gone)(nil); errors.As(err, &g) {
		r = result{Lost: g.of, Retry: g.of == ""}
	}
	job.Leave(1, fmt.Sprintf("%s task %s, attempt %d: %v", w.Role, w.Task, w.Attempt, err), r)
}
