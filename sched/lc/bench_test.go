package lc

import (
	"fmt"
	"testing"

	"sigmaos/internal/clock"
)

// cpu is the CPU time so far. On a machine that others use too it says more than the
// clock.
func cpu() int64 { return int64(clock.CPU()) }

// perCPU reports rounds in a second of CPU time since began.
func perCPU(b *testing.B, began int64) {
	b.ReportMetric(float64(b.N)*1e9/float64(cpu()-began), "placements/cpu-s")
}

// filled is a cluster of n nodes of 32 cores and 128 GiB with a shuffled load of
// about two thirds.
func filled(b *testing.B, n int) (c *cluster, running []Decision) {
	c = newCluster(b, Config{})
	for i := range n {
		c.join(uint16(i+1), fmt.Sprint("rack", i/40), 32_000, 131_072*mib)
	}
	r := uint64(1)
	for i := range n * 20 {
		r = r*6364136223846793005 + 1442695040888963407
		id := fmt.Sprint("p", i)
		c.place(id, 500+int64(r>>40)%1000, (1024+int64(r>>50)%4096)*mib)
		running = append(running, c.Decisions()...)
	}
	return c, running
}

// One round is a placement and the release of an earlier proc, ids and all.
func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, running := filled(b, n)
			from := make([]From, n+1)
			r := uint64(7)
			b.ReportAllocs()
			began := cpu()
			for i := 0; b.Loop(); i++ {
				r = r*6364136223846793005 + 1442695040888963407
				d := &running[int(r>>33)%len(running)]
				f := &from[d.Node]
				*f = From{d.Node, 1, 1, f.N + 100}
				if err := c.Release(*f, d.ID); err != nil {
					b.Fatal(err)
				}
				if err := c.Place(Request{ID: d.ID, Realm: "a", MCPU: 500 + int64(r>>40)%1000, Memory: (1024 + int64(r>>50)%4096) * mib}); err != nil {
					b.Fatal(err)
				}
				now := c.Decisions()
				if len(now) != 1 {
					b.Fatal("not placed")
				}
				*d = now[0]
			}
			perCPU(b, began)
		})
	}
}

// The same in a full cluster: every release lets one of 10,000 that wait in, and
// another one comes.
func BenchmarkPlaceFromQueue(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _ := filled(b, n)
			next := 0
			var running []Decision
			push := func() {
				next++
				if err := c.Place(Request{ID: fmt.Sprint("q", next), Realm: "a", MCPU: 900 + int64(next*7919%200), Memory: 4096 * mib}); err != nil {
					b.Fatal(err)
				}
				running = append(running, c.Decisions()...)
			}
			for c.Stats().Waiting < 9_000 {
				push()
			}
			from := make(map[uint16]From)
			began := cpu()
			for b.Loop() {
				d := running[0]
				running = running[1:]
				f := from[d.Node]
				f.Node, f.Boot, f.Epoch, f.N = d.Node, 1, 1, f.N+100
				from[d.Node] = f
				if err := c.Release(f, d.ID); err != nil {
					b.Fatal(err)
				}
				running = append(running, c.Decisions()...)
				push()
			}
			perCPU(b, began)
		})
	}
}
