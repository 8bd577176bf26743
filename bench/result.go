package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Result is one figure, or a set of them as Rows.
type Result struct {
	Bench        string    `json:"bench"`
	Row          string    `json:"row,omitempty"`
	Measure      string    `json:"measure,omitempty"` // of a row that has several: dial, first-answer, rtt, throughput
	CPUs         int       `json:"cpus,omitempty"`    // on which its processes were; 0 is where the kernel put them
	Unit         string    `json:"unit,omitempty"`
	N            int       `json:"n,omitempty"`
	Value        float64   `json:"value,omitempty"` // the headline
	P50          float64   `json:"p50,omitempty"`
	P90          float64   `json:"p90,omitempty"`
	P99          float64   `json:"p99,omitempty"`
	P999         float64   `json:"p999,omitempty"`
	Against      string    `json:"against,omitempty"`
	AgainstValue float64   `json:"against_value,omitempty"`
	Ratio        float64   `json:"ratio,omitempty"`  // value / against_value
	Paired       *Paired   `json:"paired,omitempty"` // the same, over pairs of rounds
	Spread       []float64 `json:"spread,omitempty"` // least and greatest of the rounds
	// RoundTrips is the time beyond what the row is compared with, in round trips
	// of the same way and run.
	RoundTrips float64 `json:"round_trips,omitempty"`
	Note       string  `json:"note,omitempty"`
	// Steps are medians between the stamps of a start, ms.
	Steps   map[string]float64 `json:"steps,omitempty"`
	Checks  []Check            `json:"checks,omitempty"`
	Machine *Machine           `json:"machine,omitempty"`
	Courses []Course           `json:"courses,omitempty"`
	Changes []float64          `json:"changes,omitempty"` // s at which what the courses show was changed, and the end
	Rows    []Result           `json:"rows,omitempty"`
}

// Check is something about a run that was looked at from outside.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// all are r, where it is a figure of its own, and its rows.
func (r Result) all() (rows []Result) {
	if _, again := find(r.Rows, r.Row, r.Measure, r.CPUs); r.Unit != "" && !again {
		rows = append(rows, r)
	}
	for _, x := range r.Rows {
		if x.Unit != "" {
			rows = append(rows, x)
		}
	}
	return rows
}

// label names a row for people.
func (r Result) label() string {
	s := r.Row
	if r.Measure != "" {
		s += " " + r.Measure
	}
	switch r.CPUs {
	case 0:
	case 1:
		s += ", 1 CPU"
	default:
		s += fmt.Sprintf(", %d CPUs", r.CPUs)
	}
	return s
}

// Table prints a result for people.
func (r Result) Table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "BENCH\tROW\tUNIT\tN\tVALUE\tP50\tP90\tP99\tAGAINST\tRATIO\tINTERVAL\t\n")
	rows := r.all()
	for _, x := range rows {
		ratio, interval := "", ""
		if x.Ratio != 0 {
			ratio = fmt.Sprintf("%.2f", x.Ratio)
		}
		if p := x.Paired; p != nil {
			interval = fmt.Sprintf("%.3f-%.3f", p.Low, p.High)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Bench, x.label(), x.Unit, x.N, num(x.Value), num(x.P50), num(x.P90), num(x.P99), x.Against, ratio, interval)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if err := r.figure7().table(w); err != nil {
		return err
	}
	notes := r.Rows
	if _, again := find(r.Rows, r.Row, r.Measure, r.CPUs); !again {
		notes = append([]Result{r}, notes...)
	}
	for _, x := range notes {
		if len(x.Steps) > 0 {
			fmt.Fprintf(w, "%s: queue %.3f  slot %.3f  exec %.3f  main %.3f ms (medians)\n", x.Row, x.Steps["queue"], x.Steps["slot"], x.Steps["exec"], x.Steps["main"])
		}
		if x.RoundTrips != 0 {
			fmt.Fprintf(w, "%s: %.2f round trips beyond %s\n", x.label(), x.RoundTrips, x.Against)
		}
		if x.P999 != 0 {
			fmt.Fprintf(w, "%s: 99.9 %% within %s %s\n", x.label(), num(x.P999), x.Unit)
		}
		if x.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", x.label(), x.Note)
		}
	}
	for _, c := range r.Checks {
		word := "checked"
		if !c.OK {
			word = "NOT SO"
		}
		fmt.Fprintf(w, "%s: %s: %s\n", word, c.Name, c.Text)
	}
	if m := r.Machine; m != nil {
		fmt.Fprintln(w, m)
	}
	return nil
}

// String is one line.
func (m *Machine) String() string {
	return fmt.Sprintf("%d cores, Linux %s, cgroup %s, %s; %.1f %% of the CPU time stolen; load %.1f before", m.Cores, m.Kernel, m.Cgroup, strings.Join(m.Layers, " "), m.Stolen*100, m.Load)
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
