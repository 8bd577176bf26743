package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// figure7 is the paper's Figure 7 (§6.2): strategies of isolating networks, with
// dial latency, latency of a packet, which is half a round trip, and throughput.
type figure7 []strategy

type strategy struct {
	name               string
	dial, packet, rate Result // ms, ms there and back, MB/s
}

// strategies of the figure, by their rows.
var strategies = []struct{ row, name string }{
	{"raw-tcp-go", "no isolation (TCP)"}, {"raw-tcp", "TCP, sigma's Conn"}, {"raw-tcp-cells", "the same, in cgroups"},
	{"other-node", "σOS (endpoint)"}, {"vxlan", "VXLAN overlay"}, {"docker-bridge", "docker bridge"},
}

// figure7 is empty for a result that has not its rows.
func (r Result) figure7() (f figure7) {
	for _, s := range strategies {
		x := strategy{name: s.name}
		ok := false
		for _, row := range r.Rows {
			if row.Row != s.row || r.Bench != "net" {
				continue
			}
			switch row.Measure {
			case "dial":
				x.dial = row
			case "rtt":
				x.packet, ok = row, true
			case "throughput":
				x.rate = row
			}
		}
		if ok {
			f = append(f, x)
		}
	}
	return f
}

// packetUS is the latency of a packet in µs, gbit a throughput in Gbit/s.
func (s strategy) packetUS(ms float64) float64 { return ms / 2 * 1000 }

func gbit(mb float64) float64 { return mb * 8 / 1000 }

func (f figure7) table(w io.Writer) error {
	if len(f) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nThe paper's Figure 7, between two network namespaces that a veth pair joins:")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "strategy\tdial, ms\tpacket, µs\tthroughput, Gbit/s\t\n")
	for _, s := range f {
		fmt.Fprintf(tw, "%s\t%.3f\t%.1f\t%.1f\t\n", s.name, s.dial.Value, s.packetUS(s.packet.Value), gbit(s.rate.Value))
	}
	err := tw.Flush()
	fmt.Fprintln(w)
	return err
}
