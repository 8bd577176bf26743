package ctl

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"sigmaos/sigma/mr"
)

// mrBars show maps and reduces, once the input is cut.
func mrBars(s *mr.Summary) []string {
	m, r := s.State.Maps, s.State.Reduces
	if m.Total == 0 {
		return nil
	}
	return []string{bar("map", m.Done, m.Running, m.Total, m.Attempts), bar("reduce", r.Done, r.Running, r.Total, r.Attempts)}
}

// mrReport says what a job did, and where its time went.
func mrReport(w io.Writer, s *mr.Summary) error {
	st := &s.State
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
	return nil
}
