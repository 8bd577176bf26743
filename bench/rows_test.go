package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// made is a series with rounds in which every message took rtt ms and 1 MB was
// written at that many MB/s.
func made(name string, rtt, throughput []float64) *series {
	s := &series{name: name, at: place{[]int{0}, []int{0}}}
	for i := range rtt {
		ns := int64(rtt[i] * 1e6)
		s.rounds = append(s.rounds, measured{RTT: []int64{ns, ns, ns}, Bytes: 1e6, Write: int64(1e9 / throughput[i])})
	}
	return s
}

func repeated(v float64, n int) (out []float64) {
	for range n {
		out = append(out, v)
	}
	return out
}

func TestRowsCompareRoundByRound(t *testing.T) {
	ours := made("same-node", repeated(0.02, 7), repeated(4000, 7))
	theirs := made("socketpair", repeated(0.04, 7), repeated(2000, 7))
	list := rows("net", ours, theirs, made("tcp-loopback", repeated(0.08, 7), repeated(1000, 7)))
	if len(list) != 4 {
		t.Fatalf("%d rows, want one a measure and thing compared with: %+v", len(list), list)
	}
	r, ok := find(list, "same-node", "rtt", 1)
	if !ok || r.Value != 0.02 || r.Against != "socketpair" || r.AgainstValue != 0.04 || r.Ratio != 0.5 || r.N != 21 || r.Unit != "ms" {
		t.Errorf("the first row is %+v", r)
	}
	if p := r.Paired; p == nil || p.Pairs != 7 || p.Low != 0.5 || p.High != 0.5 {
		t.Errorf("its interval is %+v", r.Paired)
	}
	r, _ = find(list, "same-node", "throughput", 1)
	if r.Unit != "MB/s" || r.Value < 3999 || r.Value > 4001 || r.P99 != 0 {
		t.Errorf("throughput is %+v; want 4000 MB/s and no percentile of rounds", r)
	}
	if n := ours.moved(); n != 7*(1e6+3*128) {
		t.Errorf("moved() = %d", n)
	}
}

// A round that something disturbed for one side alone must not hide that the
// sides are equal.
func TestIntervalHoldsOneForEqualSides(t *testing.T) {
	a, b := repeated(1, 31), repeated(1, 31)
	a[3], b[7], a[20] = 40, 9, 0.1
	r := rows("net", made("other-node", a, repeated(1, 31)), made("raw-tcp", b, repeated(1, 31)))[0]
	if p := r.Paired; p.Low > 1 || p.High < 1 || p.Ratio != 1 {
		t.Errorf("the interval is %+v, want one with 1 in it", p)
	}
}

func result() Result {
	r := Result{Bench: "net"}
	names := []string{"other-node", "raw-tcp", "raw-tcp-go", "vxlan"}
	for i, name := range names {
		s := made(name, repeated(float64(i+1), 6), repeated(1000*float64(i+1), 6))
		for k := range s.rounds {
			s.rounds[k].Dial = []int64{int64(i+1) * 1e5}
		}
		r.Rows = append(r.Rows, rows("net", s)...)
	}
	r.Rows = append(r.Rows, Result{Bench: "net", Row: "docker-bridge", Note: "not measured: there is none"})
	return r
}

func TestPaper62_Figure7(t *testing.T) {
	f := result().figure7()
	if len(f) != 4 {
		t.Fatalf("%d strategies, want the four that were measured: %+v", len(f), f)
	}
	for _, s := range f {
		if s.packet.Row == "other-node" && (s.packetUS(s.packet.Value) != 500 || gbit(s.rate.Value) < 7.99 || gbit(s.rate.Value) > 8.01 || s.dial.Value != 0.1) {
			t.Errorf("σOS has a packet of %v µs, %v Gbit/s, dial of %v ms; want 500 (half of 1 ms), 8 and 0.1", s.packetUS(s.packet.Value), gbit(s.rate.Value), s.dial.Value)
		}
	}
	if f := (Result{Bench: "start", Rows: result().Rows}).figure7(); f != nil {
		t.Errorf("a bench of starts has a Figure 7: %+v", f)
	}
}

func TestHeadlineIsARowAndPrintedOnce(t *testing.T) {
	r := result()
	r.headline("other-node", "rtt", 1)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	json.Unmarshal(b, &top)
	if top["row"] != "other-node" || top["value"] != 1.0 || len(top["rows"].([]any)) != len(r.Rows) {
		t.Errorf("the headline is %v with %d rows", top["row"], len(top["rows"].([]any)))
	}
	var out bytes.Buffer
	if err := r.Table(&out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "other-node rtt, 1 CPU "); n != 1 {
		t.Errorf("the headline is printed %d times:\n%s", n, &out)
	}
	if !strings.Contains(out.String(), "not measured: there is none") {
		t.Errorf("why a row is missing is not printed:\n%s", &out)
	}
	r.headline("no-such", "rtt", 1)
	if r.Note == "" {
		t.Error("a headline that is not there is not told")
	}
}

func TestPlotDrawsEachRowOnce(t *testing.T) {
	start := Result{Bench: "start", Row: "sigma", Unit: "ms", N: 6, Value: 0.8, Against: "bare", Rows: []Result{{Bench: "start", Row: "bare", Unit: "ms", N: 6, Value: 0.6}}}
	for name, r := range map[string]Result{"net": result(), "start": start} {
		var out bytes.Buffer
		if err := r.Plot(&out); err != nil {
			t.Fatalf("%s: Plot = %v", name, err)
		}
		bars := strings.Count(out.String(), `<rect class="`)
		want := map[string]int{"net": 4 * 3, "start": 2}[name]
		if bars != want {
			t.Errorf("the picture of %s has %d bars, want %d", name, bars, want)
		}
	}
}
