package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
	"sigmaos/sigma/mr"
)

const (
	mrNodes  = 3
	mrRounds = 7
	mrParts  = 4
)

// MR is the paper's Figure 8: word count over real text by procs. The text is in the
// scratch space of all nodes, a part in each, as it is in a cluster that lives with it;
// one-node is the same job with all of it on one. Intermediate files are in scratch
// space and in objects, against the same functions in one process
// with a thread for each CPU. The combiner leaves little for intermediate files to
// hold, so each kind of these is used without it, too: then each word of the text is a
// pair in them. A round is one run of each; their outputs must be the same bytes. A
// job's time is from before the call that submits it to the moment at which its state
// is final; its CPU time is that of its procs and, beside that, of sigmad and the S3
// server on all nodes.
func MR(ctx context.Context, _ Cluster, o Options) (r Result, err error) {
	b := mrBench{o: o, program: filepath.Join(o.Programs, "mr"), jobs: mrSides()}
	if b.corpus, err = corpusDir(o); err != nil {
		return r, err
	}
	if b.dir, err = newDir(); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.dev, err = startDev(ctx, o, filepath.Join(b.dir, "dev"), mrNodes); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.dev.stop()) }()
	if err := b.copyIn(ctx); err != nil {
		return r, err
	}
	rounds := o.N
	if rounds == 0 {
		rounds = mrRounds
	}
	for i := range rounds {
		fmt.Fprintf(o.Log, "round %d of %d\n", i+1, rounds)
		if err := b.round(ctx, i); err != nil {
			return r, err
		}
	}
	return b.result(), nil
}

type mrBench struct {
	o       Options
	program string // on this machine
	corpus  string
	dir     string
	dev     *devCluster
	in, one []string // directories of the input: spread, and on one node

	bytes int64
	plain mrSide
	jobs  []*mrSide
}

// mrSide is one way of doing the job, round by round, in seconds.
type mrSide struct {
	name      string
	mid       string    // where intermediate files are
	one       bool      // the input is on one node
	args      []string  // of word count
	wall, cpu []float64 // cpu: of the process, or of the job's procs
	with      []float64 // with what sigmad spent
	peak      int64     // resident bytes of a proc, at most
	between   int64     // bytes of intermediate files
	before    []float64 // until a coordinator led
	spent     [4][]float64
}

// mrSides are the ways in which a job runs.
func mrSides() []*mrSide {
	const ux, s3 = "/ux/~local", "/s3/~any"
	pairs := []string{"pairs"}
	return []*mrSide{{name: "ux", mid: ux}, {name: "one-node", mid: ux, one: true}, {name: "s3", mid: s3}, {name: "ux-pairs", mid: ux, args: pairs}, {name: "s3-pairs", mid: s3, args: pairs}}
}

// corpusDir finds the text: S, M or L as fetch.sh has put it into the cache, or a
// directory.
func corpusDir(o Options) (string, error) {
	name := o.Corpus
	if name == "" {
		name = "M"
	}
	dir := name
	if len(name) == 1 {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "sigma", "corpus", name)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", api.E(api.NotFound, "bench", "mr", "there is no corpus in %s; fetch it: apps/fetch.sh %s %s", dir, name, dir)
	}
	return dir, nil
}

// copyIn puts the corpus into scratch space: into each node's as many bytes, and all of
// it into the first one's.
func (b *mrBench) copyIn(ctx context.Context) error {
	type file struct {
		path, rel string
		size      int64
	}
	var files []file
	err := filepath.WalkDir(b.corpus, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(b.corpus, path)
		if err != nil {
			return err
		}
		i, err := os.Stat(path)
		if err == nil {
			files = append(files, file{path, filepath.ToSlash(rel), i.Size()})
			b.bytes += i.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	nodes, err := b.dev.Nodes(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(nodes, func(x, y api.NodeInfo) int { return strings.Compare(x.Name, y.Name) })
	for _, n := range nodes {
		dir := "/ux/" + n.Name + "/bench/in"
		if err := b.dev.Sigma().Names().MkdirAll(ctx, dir, 0o775); err != nil { // few files are not on all nodes
			return err
		}
		b.in = append(b.in, dir)
	}
	b.one = []string{"/ux/~local/bench/all"}
	at := int64(0)
	for _, f := range files {
		part := b.in[min(at*int64(len(b.in))/max(b.bytes, 1), int64(len(b.in)-1))]
		for _, dir := range []string{part, b.one[0]} {
			if err := b.copyFile(ctx, f.path, dir+"/"+f.rel); err != nil {
				return err
			}
		}
		at += f.size
	}
	return nil
}

func (b *mrBench) copyFile(ctx context.Context, from, to string) error {
	n := b.dev.Sigma().Names()
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := n.Create(ctx, to)
	if api.KindOf(err) == api.NotFound {
		if err = n.MkdirAll(ctx, path.Dir(to), 0o775); err == nil {
			f, err = n.Create(ctx, to)
		}
	}
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{in}, make([]byte, 1<<20))
	return errors.Join(err, f.Close())
}

// round runs all of them; who is first changes.
func (b *mrBench) round(ctx context.Context, i int) error {
	out := filepath.Join(b.dir, "plain")
	defer os.RemoveAll(out)
	runs := []func() error{func() error { return b.runPlain(ctx, out) }}
	for _, s := range b.jobs {
		runs = append(runs, func() error { return b.runJob(ctx, s, fmt.Sprintf("%s-%d", s.name, i)) })
	}
	for k := range runs {
		if err := runs[(i+k)%len(runs)](); err != nil {
			return err
		}
	}
	for _, s := range b.jobs {
		if err := b.compare(ctx, out, fmt.Sprintf("/ux/~local/bench/%s-%d", s.name, i)); err != nil {
			return err
		}
	}
	return nil
}

// runPlain runs the program by itself.
func (b *mrBench) runPlain(ctx context.Context, out string) error {
	cmd := exec.CommandContext(ctx, b.program, "wc", "-report", "-r", fmt.Sprint(mrParts), "-o", out, "--", b.corpus)
	var report bytes.Buffer
	cmd.Stderr = &report
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("bench: %s: %w: %s", b.program, err, strings.TrimSpace(report.String()))
	}
	var p mr.PlainReport
	if err := json.Unmarshal(report.Bytes(), &p); err != nil {
		return fmt.Errorf("bench: the report of %s: %w", b.program, err)
	}
	u := cmd.ProcessState
	b.plain.wall = append(b.plain.wall, p.Wall.Seconds())
	b.plain.cpu = append(b.plain.cpu, (u.UserTime() + u.SystemTime()).Seconds())
	return nil
}

// runJob runs a job to its end.
func (b *mrBench) runJob(ctx context.Context, side *mrSide, name string) error {
	prog, err := b.dev.Upload(ctx, b.program)
	if err != nil {
		return err
	}
	before, err := b.dev.cpu()
	if err != nil {
		return err
	}
	c := b.dev.Sigma()
	in := b.in
	if side.one {
		in = b.one
	}
	begin := time.Now()
	spec := mr.Spec{Spec: job.Spec{Name: name, Program: prog.Digest, Out: "/ux/~local/bench/" + name}, App: "wc", Args: side.args, In: in, Intermediate: side.mid, Reducers: mrParts}
	if _, err := mr.Submit(ctx, c, spec); err != nil {
		return err
	}
	s, err := mr.Jobs.Wait(ctx, c, name, nil)
	if err != nil {
		return err
	}
	if s.State.Phase != job.Done {
		return fmt.Errorf("bench: the job %s has failed: %s", name, s.State.Error)
	}
	side.between = s.State.MapStats.OutBytes
	side.before = append(side.before, s.State.Started.Sub(begin).Seconds())
	p := s.State.Spent
	for i, d := range []time.Duration{p.Plan, p.Map, p.Reduce, p.Publish} {
		side.spent[i] = append(side.spent[i], d.Seconds())
	}
	side.wall = append(side.wall, s.State.Ended.Sub(begin).Seconds()) // one clock: all nodes are on this machine
	procs, err := b.dev.jobProcs(ctx, begin)
	if err != nil {
		return err
	}
	after, err := b.dev.cpu()
	if err != nil {
		return err
	}
	own := 0.0
	for _, p := range procs {
		own += float64(p.CPU) / 1e9
		side.peak = max(side.peak, p.RSS)
	}
	side.cpu = append(side.cpu, own)
	side.with = append(side.with, own+after-before)
	return nil
}

// compare fails where a job's parts are not those of the plain run.
func (b *mrBench) compare(ctx context.Context, plain, job string) error {
	for i := range mrParts {
		part := fmt.Sprintf("part-%05d", i)
		want, err := os.ReadFile(filepath.Join(plain, part))
		if err != nil {
			return err
		}
		got, _, err := b.dev.Sigma().Names().GetFile(ctx, job+"/"+part)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("bench: %s of %s is not what the plain program made", part, job)
		}
	}
	return nil
}

// result makes the rows. The headline is the time with scratch space, against the
// plain program.
func (b *mrBench) result() Result {
	row := func(name, measure string, v []float64, against string, theirs []float64) Result {
		x := Result{Bench: "mr", Row: name, Measure: measure, Unit: "s"}
		per := append([]float64(nil), v...)
		x.fill(append([]float64(nil), v...))
		x.rounds(per)
		if theirs != nil {
			x.Against, x.AgainstValue = against, median(theirs)
			x.Ratio, x.Paired = x.Value/x.AgainstValue, paired(per, theirs)
		}
		return x
	}
	ux, one, s3, uxPairs, s3Pairs := b.jobs[0], b.jobs[1], b.jobs[2], b.jobs[3], b.jobs[4]
	r := row("ux", "wall", ux.wall, "plain", b.plain.wall)
	mb := float64(b.bytes) / 1e6
	plain := row("plain", "wall", b.plain.wall, "", nil)
	plain.Note = fmt.Sprintf("%.0f MB, %.0f MB/s in %d threads", mb, mb/plain.Value, cores())
	cpu := row("ux", "cpu", ux.cpu, "plain", b.plain.cpu)
	cpu.Note = fmt.Sprintf("of the job's procs, coordinators too; the largest of all had %.0f MB resident", float64(b.peak())/1e6)
	between := row("s3", "wall", s3.wall, "ux", ux.wall)
	between.Note = fmt.Sprintf("%.0f MB of intermediate files", float64(ux.between)/1e6)
	pairs := row("s3-pairs", "wall", s3Pairs.wall, "ux-pairs", uxPairs.wall)
	pairs.Note = fmt.Sprintf("%.0f MB of intermediate files: without the combiner", float64(uxPairs.between)/1e6)
	r.Rows = []Result{
		cpu,
		row("ux", "cpu with sigmad", ux.with, "plain", b.plain.cpu),
		row("one-node", "wall", one.wall, "plain", b.plain.wall),
		row("one-node", "cpu", one.cpu, "plain", b.plain.cpu),
		row("one-node", "cpu with sigmad", one.with, "plain", b.plain.cpu),
		between,
		row("s3", "cpu", s3.cpu, "plain", b.plain.cpu),
		row("ux-pairs", "wall", uxPairs.wall, "", nil),
		pairs,
		plain,
		row("plain", "cpu", b.plain.cpu, "", nil),
	}
	ms := func(v []float64) float64 { return 1000 * median(v) }
	r.Note = fmt.Sprintf("%d nodes on one machine; output the same bytes as the plain program's in all %d rounds; ms until a coordinator led %.0f, plan %.0f, maps %.0f, reduces %.0f, the end %.0f",
		mrNodes, len(b.plain.wall), ms(ux.before), ms(ux.spent[0]), ms(ux.spent[1]), ms(ux.spent[2]), ms(ux.spent[3]))
	return r
}

// peak is what the largest proc of any job had resident.
func (b *mrBench) peak() (most int64) {
	for _, s := range b.jobs {
		most = max(most, s.peak)
	}
	return most
}
