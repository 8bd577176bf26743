// Package bench measures what σOS promises, as ratios to something measured in
// the same run. Rounds of both sides are interleaved; a figure is a median over
// rounds; the share of CPU time that the host took away is part of the result.
// Nothing is switched off for a bench: the procs run as a tenant's do.
package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"sigmaos/api"
)

// Result is one figure, or a set of them as Rows.
type Result struct {
	Bench        string    `json:"bench"`
	Row          string    `json:"row,omitempty"`
	Unit         string    `json:"unit,omitempty"`
	N            int       `json:"n,omitempty"`
	Value        float64   `json:"value,omitempty"` // the headline
	P50          float64   `json:"p50,omitempty"`
	P90          float64   `json:"p90,omitempty"`
	P99          float64   `json:"p99,omitempty"`
	Against      string    `json:"against,omitempty"`
	AgainstValue float64   `json:"against_value,omitempty"`
	Ratio        float64   `json:"ratio,omitempty"`  // value / against_value
	Spread       []float64 `json:"spread,omitempty"` // least and greatest of the rounds
	Note         string    `json:"note,omitempty"`
	// Steps are medians between the stamps of a start, ms.
	Steps   map[string]float64 `json:"steps,omitempty"`
	Machine *Machine           `json:"machine,omitempty"`
	Rows    []Result           `json:"rows,omitempty"`
}

// Machine says where a result was measured.
type Machine struct {
	Cores  int      `json:"cores"`
	Kernel string   `json:"kernel"`
	Cgroup string   `json:"cgroup"`
	Layers []string `json:"layers"`
	Stolen float64  `json:"stolen"` // share of CPU time the host took during the run
}

// Cluster is what a bench needs of a client: see sigma/admin.
type Cluster interface {
	Info(ctx context.Context) (api.ClusterInfo, error)
	Upload(ctx context.Context, path string) (api.Program, error)
	// Run spawns a proc and returns its whole stdout and its status.
	Run(ctx context.Context, d *api.ProcDesc) (stdout []byte, id api.ProcID, st api.Status, err error)
	Procs(ctx context.Context, f api.ProcFilter) ([]api.ProcInfo, error)
	CreateRealm(ctx context.Context, name string) error
	RemoveRealm(ctx context.Context, name string) error
	InRealm(ctx context.Context, name string) (Cluster, io.Closer, error)
}

// Options of a run.
type Options struct {
	Programs string // directory of hello, hello-c, benchproc
	Log      io.Writer
	N        int     // starts in all; 0 is the bench's own
	Seconds  float64 // of one measured second in rate; 0 is 10
}

// Benches lists what can be measured.
var Benches = map[string]func(context.Context, Cluster, Options) (Result, error){
	"start": Start,
	"rate":  Rate,
}

// Names are the benches in order.
func Names() []string {
	var n []string
	for name := range Benches {
		n = append(n, name)
	}
	slices.Sort(n)
	return n
}

// maxStolen is the share of stolen time above which a run does not count.
const maxStolen = 0.03

// Run runs a bench, again when the host took too much of it.
func Run(ctx context.Context, name string, c Cluster, o Options) (Result, error) {
	fn, ok := Benches[name]
	if !ok {
		return Result{}, api.E(api.Invalid, "bench", name, "there are %s", strings.Join(Names(), ", "))
	}
	info, err := c.Info(ctx)
	if err != nil {
		return Result{}, err
	}
	for try := 1; ; try++ {
		before := cpuTimes()
		r, err := fn(ctx, c, o)
		if err != nil {
			return r, err
		}
		after := cpuTimes()
		m := &Machine{Cores: cores(), Kernel: kernel(), Cgroup: info.Cgroup, Layers: info.Layers}
		if all := after.total - before.total; all > 0 {
			m.Stolen = float64(after.steal-before.steal) / float64(all)
		}
		r.Machine = m
		if m.Stolen <= maxStolen || try == 3 {
			return r, nil
		}
		fmt.Fprintf(o.Log, "the host took %.1f %% of the CPU time; measuring again\n", m.Stolen*100)
	}
}

// Table prints a result for people.
func (r Result) Table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "BENCH\tROW\tUNIT\tN\tVALUE\tP50\tP90\tP99\tAGAINST\tRATIO\t\n")
	rows := append([]Result{r}, r.Rows...)
	for _, x := range rows {
		if x.Unit == "" {
			continue
		}
		ratio := ""
		if x.Ratio != 0 {
			ratio = fmt.Sprintf("%.2f", x.Ratio)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Bench, x.Row, x.Unit, x.N, num(x.Value), num(x.P50), num(x.P90), num(x.P99), x.Against, ratio)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, x := range rows {
		if len(x.Steps) > 0 {
			fmt.Fprintf(w, "%s: queue %.3f  slot %.3f  exec %.3f  main %.3f ms (medians)\n", x.Row, x.Steps["queue"], x.Steps["slot"], x.Steps["exec"], x.Steps["main"])
		}
		if x.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", x.Row, x.Note)
		}
	}
	if m := r.Machine; m != nil {
		fmt.Fprintf(w, "%d cores, Linux %s, cgroup %s, %s; %.1f %% of the CPU time stolen\n", m.Cores, m.Kernel, m.Cgroup, strings.Join(m.Layers, " "), m.Stolen*100)
	}
	return nil
}

func num(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

type cpu struct{ total, steal uint64 }

// cpuTimes reads the first line of /proc/stat.
func cpuTimes() (c cpu) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return c
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	if !sc.Scan() {
		return c
	}
	for i, s := range strings.Fields(sc.Text())[1:] {
		v, _ := strconv.ParseUint(s, 10, 64)
		if i < 8 {
			c.total += v
		}
		if i == 7 {
			c.steal = v
		}
	}
	return c
}

func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// fill sets the percentiles of r from samples, which it sorts.
func (r *Result) fill(samples []float64) {
	slices.Sort(samples)
	r.N = len(samples)
	r.P50, r.P90, r.P99 = percentile(samples, 0.5), percentile(samples, 0.9), percentile(samples, 0.99)
	r.Value = r.P50
}
