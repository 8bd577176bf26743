package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"sigmaos/bench/plot"
)

// Plot draws a result as SVG.
func (r Result) Plot(w io.Writer) error {
	c := plot.Chart{Title: "σOS: bench " + r.Bench}
	switch {
	case r.Bench == "net":
		c.Title += " (Figure 7 of the paper, and connections on one node)"
		c.Panels = append(r.figure7().panels(), r.nearPanels()...)
	default:
		c.Panels = append(r.coursePanels(), r.panels()...)
	}
	for _, x := range r.all() {
		if len(x.Spread) == 2 {
			c.Notes = append(c.Notes, "Bars are medians of interleaved rounds; whiskers reach from the least to the greatest round.")
			break
		}
	}
	if r.Machine != nil {
		c.Notes = append(c.Notes, r.Machine.String())
	}
	return c.Write(w)
}

// bar shows a row, its figures multiplied by scale.
func bar(label string, r Result, scale float64, ours bool) plot.Bar {
	b := plot.Bar{Label: label, Value: r.Value * scale, Ours: ours}
	if len(r.Spread) == 2 {
		b.Low, b.High = r.Spread[0]*scale, r.Spread[1]*scale
	}
	return b
}

// panels have a bar for each row: a panel for each measure and unit, and one
// more for rows over a way that was made longer, which would hide the others.
func (r Result) panels() (out []plot.Panel) {
	seen := make(map[string]bool) // rows that are compared twice are drawn once
	foreign := map[string]bool{"docker-bridge": true, "docker": true, "runc": true}
	for _, x := range r.all() {
		foreign[x.Against] = true
	}
	for _, x := range r.all() {
		if x.Value == 0 || seen[x.label()] {
			continue
		}
		seen[x.label()] = true
		title := x.Measure
		if title == "" {
			title = r.Bench
		}
		if strings.HasSuffix(x.Row, delayed) {
			title += fmt.Sprintf(", over a way of %d ms there and back", 2*delay.Milliseconds())
		}
		i := slices.IndexFunc(out, func(p plot.Panel) bool { return p.Title == title && p.Unit == x.Unit })
		if i < 0 {
			i = len(out)
			out = append(out, plot.Panel{Title: title, Unit: x.Unit})
		}
		out[i].Bars = append(out[i].Bars, bar(x.Row, x, 1, !foreign[x.Row] && !strings.HasPrefix(x.Row, "bare")))
	}
	return out
}

func (f figure7) panels() []plot.Panel {
	if len(f) == 0 {
		return nil
	}
	out := []plot.Panel{
		{Title: "two nodes: Dial", Unit: "ms"}, {Title: "two nodes: a packet, half a round trip", Unit: "µs"}, {Title: "two nodes: throughput of 1 MB writes", Unit: "Gbit/s"},
	}
	for _, s := range f {
		ours := s.packet.Row == "other-node"
		for i, b := range []plot.Bar{bar(s.name, s.dial, 1, ours), bar(s.name, s.packet, 500, ours), bar(s.name, s.rate, 0.008, ours)} {
			if b.Value > 0 {
				out[i].Bars = append(out[i].Bars, b)
			}
		}
	}
	return out
}

// nearPanels are the rows of one node.
func (r Result) nearPanels() (out []plot.Panel) {
	names := []struct{ row, name string }{
		{"same-node", "σOS (endpoint)"}, {"socketpair", "socketpair"}, {"socketpair-cells", "socketpair, in cgroups"}, {"socketpair-service", "socketpair, as services"}, {"socketpair-go", "socketpair, Go's Conn"},
		{"tcp-loopback", "TCP, loopback"}, {"tcp-loopback-go", "TCP, Go's Conn"},
	}
	for _, m := range []struct {
		measure, title, unit string
		scale                float64
	}{{"rtt", "64 bytes there and back", "µs", 1000}, {"throughput", "throughput of 1 MB writes", "Gbit/s", 0.008}} {
		for _, cpus := range []int{1, 2} {
			p := plot.Panel{Title: fmt.Sprintf("one node, %d CPU(s): %s", cpus, m.title), Unit: m.unit}
			for _, n := range names {
				if x, ok := find(r.Rows, n.row, m.measure, cpus); ok {
					p.Bars = append(p.Bars, bar(n.name, x, m.scale, n.row == "same-node"))
				}
			}
			if len(p.Bars) > 0 {
				out = append(out, p)
			}
		}
	}
	return out
}
