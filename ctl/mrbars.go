package ctl

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"sigmaos/sigma/mr"
)

// bars shows a job: two bars that grow on a terminal, else a line each time that
// something has changed, but not too often.
type bars struct {
	w     io.Writer
	tty   bool
	lines int // on the terminal, to be written over
	last  string
	at    time.Time
}

const (
	barWidth  = 40
	lineEvery = 300 * time.Millisecond
)

func newBars(w io.Writer) *bars {
	b := &bars{w: w}
	if f, ok := w.(*os.File); ok {
		st, err := f.Stat()
		b.tty = err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return b
}

func (b *bars) show(s *mr.Summary) {
	st := &s.State
	if b.tty {
		if b.lines > 0 {
			fmt.Fprintf(b.w, "\x1b[%dA", b.lines)
		}
		fmt.Fprintf(b.w, "\r\x1b[Kmap     %s\n\r\x1b[Kreduce  %s\n", bar(st.Maps), bar(st.Reduces))
		b.lines = 2
		return
	}
	line := fmt.Sprintf("map %s  reduce %s", bar(st.Maps), bar(st.Reduces))
	if st.Maps.Total == 0 || line == b.last || time.Since(b.at) < lineEvery && !st.Phase.Final() {
		return
	}
	b.last, b.at = line, time.Now()
	fmt.Fprintln(b.w, line)
}

func bar(p mr.Progress) string {
	done, running := 0, 0
	if p.Total > 0 {
		done = p.Done * barWidth / p.Total
		running = min((p.Done+p.Running)*barWidth/p.Total, barWidth) - done
	}
	s := fmt.Sprintf("[%s%s%s] %d/%d", strings.Repeat("#", done), strings.Repeat("-", max(running, 0)), strings.Repeat(" ", barWidth-done-max(running, 0)), p.Done, p.Total)
	if more := p.Attempts - p.Done - p.Running; more > 0 {
		s += fmt.Sprintf(", %d tried again", more)
	}
	return s
}

// mrReport says what a job did, and where its time went.
func mrReport(w io.Writer, s *mr.Summary) error {
	st := &s.State
	fmt.Fprintf(w, "job %s: %s", s.Spec.Name, st.Phase)
	end := st.Ended
	if end.IsZero() {
		end = time.Now()
	}
	if !st.Started.IsZero() {
		fmt.Fprintf(w, " after %s", ms(end.Sub(st.Started)))
	}
	fmt.Fprintf(w, ", %d files, %s → %s\n", st.Files, sizeText(st.Bytes), s.Spec.Out)
	if st.Error != "" {
		fmt.Fprintf(w, "error: %s\n", st.Error)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\ttasks\tattempts\tfailed\tlost\tphase\tin procs\tread\tsort\twrite\tCPU\tin\tout\t")
	row := func(name string, p mr.Progress, phase time.Duration, x mr.Stats) {
		fmt.Fprintf(tw, "%s\t%d/%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", name, p.Done, p.Total, p.Attempts, p.Failures, p.Returned,
			ms(phase), ms(x.Wall), ms(x.Read), ms(x.Sort), ms(x.Write), ms(x.CPU), sizeText(x.InBytes), sizeText(x.OutBytes))
	}
	row("map", st.Maps, st.Spent.Map, st.MapStats)
	row("reduce", st.Reduces, st.Spent.Reduce, st.ReduceStats)
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "planning %s, publishing %s; from Spawn to the first line of a task's program: p50 %s, p90 %s\n", ms(st.Spent.Plan), ms(st.Spent.Publish), ms(st.StartP50), ms(st.StartP90))
	if st.Terms > 1 || st.Redone > 0 {
		fmt.Fprintf(w, "%d leaders, %d finished maps done again\n", st.Terms, st.Redone)
	}
	for _, n := range st.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	return nil
}

func ms(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
