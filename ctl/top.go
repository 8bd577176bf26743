package ctl

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sort"
	"syscall"
	"text/tabwriter"
	"time"
	"unsafe"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) top() *cobra.Command {
	var n int
	var every time.Duration
	c := &cobra.Command{
		Use: "top [-n SAMPLES]", Short: "CPU and memory of realms and procs", Args: cobra.NoArgs,
		Long: `top is a screen that refreshes until interrupted; not on a terminal it prints one
sample. With -o json a sample has counters (cpu_ns) instead of shares: two of them
make a share.`,
		Example: "  sigmactl top\n  sigmactl top -o json",
	}
	c.Flags().IntVarP(&n, "samples", "n", 0, "how many samples; 0 is until interrupted (1 when not on a terminal)")
	c.Flags().DurationVar(&every, "every", time.Second, "time between samples")
	c.PreRunE = func(*cobra.Command, []string) error {
		if n < 0 || every < 10*time.Millisecond {
			return usage("-n cannot be negative, --every not below 10ms")
		}
		return nil
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
		screen := isTerminal(a.out) && a.output != "json"
		if n == 0 && !screen {
			n = 1
		}
		var before api.Top
		sample := func() (t api.Top, err error) { return t, cl.Call(ctx, api.MTop, nil, &t) }
		if a.output != "json" { // shares are of the time between two
			var err error
			if before, err = sample(); err != nil {
				return err
			}
		}
		for i := 0; n == 0 || i < n; i++ {
			if i > 0 || a.output != "json" {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(every):
				}
			}
			t, err := sample()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if err := a.print(t, func(w io.Writer) error { return draw(w, before, t, screen) }); err != nil {
				return err
			}
			before = t
		}
		return nil
	})
	return a.data(c, false)
}

// draw writes a sample; on a screen over the last one, in one piece so that it
// does not flicker, and no longer than the screen.
func draw(w io.Writer, before, t api.Top, screen bool) error {
	if !screen {
		return topText(w, before, t, 1000)
	}
	var b bytes.Buffer
	b.WriteString("\x1b[H\x1b[2J")
	if err := topText(&b, before, t, height(w)-1); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// height is the number of a terminal's lines.
func height(w io.Writer) int {
	var size struct{ rows, cols, x, y uint16 }
	if f, ok := w.(*os.File); ok {
		syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	}
	if size.rows < 10 {
		return 24
	}
	return int(size.rows)
}

// topText is a sample in at most so many lines: the busiest first.
func topText(w io.Writer, before, t api.Top, lines int) error {
	span := float64(t.Time.Sub(before.Time))
	share := func(now, then int64) float64 { return 100 * float64(now-then) / max(span, 1) }
	fmt.Fprintf(w, "%s  %s  %d cores, %.2f reserved · memory %s: LC %s, BE %s · %d running, %d queued\n\n",
		t.Node, t.Time.Local().Format(time.TimeOnly), t.Cores, float64(t.Reserved)/1000, sizeText(t.Memory), sizeText(t.MemLC), sizeText(t.MemBE), t.Running, t.Queued)
	then := make(map[string]int64)
	for _, r := range before.Realms {
		then[r.Name] = r.CPU
	}
	sort.SliceStable(t.Realms, func(i, j int) bool {
		return t.Realms[i].CPU-then[t.Realms[i].Name] > t.Realms[j].CPU-then[t.Realms[j].Name]
	})
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "REALM\tCPU%\tRUNNING\tQUEUED\tSLOTS")
	for i, r := range t.Realms {
		if more := len(t.Realms) - i; i >= max(3, lines/3) && more > 1 {
			fmt.Fprintf(tw, "… %d more\n", more)
			break
		}
		fmt.Fprintf(tw, "%s\t%.1f\t%d\t%d\t%d\n", r.Name, share(r.CPU, then[r.Name]), r.Running, r.Queued, r.Slots)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	cpu := make(map[api.ProcID]int64)
	for _, p := range before.Procs {
		cpu[p.ID] = p.CPU
	}
	sort.SliceStable(t.Procs, func(i, j int) bool {
		return t.Procs[i].CPU-cpu[t.Procs[i].ID] > t.Procs[j].CPU-cpu[t.Procs[j].ID]
	})
	fmt.Fprintln(tw, "\nPROC\tREALM\tCLASS\tCPU%\tMEMORY\tLIMIT\tSTATE\tPROGRAM")
	room := max(3, lines-6-min(len(t.Realms), max(3, lines/3)+1))
	for i, p := range t.Procs {
		if more := len(t.Procs) - i; i >= room-1 && more > 1 {
			fmt.Fprintf(tw, "… %d more\n", more)
			break
		}
		fmt.Fprintf(tw, "%s\t%s\t%v\t%.1f\t%s\t%s\t%s\t%s\n", p.Short, p.Realm, p.Class, share(p.CPU, cpu[p.ID]), sizeText(p.RSS), sizeText(p.Memory), p.State, programText(p))
	}
	return tw.Flush()
}
