package lc

import (
	"fmt"
	"strings"
	"testing"

	"sigmaos/api"
)

const mib = 1 << 20

// cluster is a table with nodes that report when told to.
type cluster struct {
	*Table
	t      testing.TB
	fences map[uint16]*Fence
	sizes  map[uint16][2]int64
}

func newCluster(t testing.TB, cfg Config) *cluster {
	if cfg.Epoch == 0 {
		cfg.Epoch = 1
	}
	return &cluster{Table: New(cfg), t: t, fences: make(map[uint16]*Fence), sizes: make(map[uint16][2]int64)}
}

// join adds a node that has reported, with nothing on it.
func (c *cluster) join(number uint16, domain string, mcpu, memory int64) {
	c.t.Helper()
	c.Join(Node{Number: number, Boot: 1, Name: fmt.Sprint("n", number), Domain: domain})
	c.sizes[number] = [2]int64{mcpu, memory}
	c.report(number)
}

// report is what a node says that holds held and has seen every decision.
func (c *cluster) report(number uint16, held ...Held) {
	c.t.Helper()
	h, ok := c.Hello(number)
	if !ok {
		c.t.Fatalf("node %d is not known", number)
	}
	c.fence(number).Hello(h)
	c.reportSeen(number, c.fence(number).Seen(), held...)
}

func (c *cluster) reportSeen(number uint16, seen uint64, held ...Held) {
	c.t.Helper()
	s := c.sizes[number]
	if err := c.Report(Report{From: c.from(number), MCPU: s[0], Memory: s[1], Seen: seen, Held: held}); err != nil {
		c.t.Fatalf("report of %d: %v", number, err)
	}
}

func (c *cluster) fence(number uint16) *Fence {
	if c.fences[number] == nil {
		c.fences[number] = &Fence{epoch: c.cfg.Epoch}
	}
	return c.fences[number]
}

func (c *cluster) from(number uint16) From { return c.fence(number).Stamp(number, 1) }

func (c *cluster) release(number uint16, id string) {
	c.t.Helper()
	if err := c.Release(c.from(number), id); err != nil {
		c.t.Fatalf("release %s: %v", id, err)
	}
}

func (c *cluster) place(id string, mcpu, memory int64) {
	c.t.Helper()
	c.request(Request{ID: id, MCPU: mcpu, Memory: memory})
}

func (c *cluster) request(r Request) {
	c.t.Helper()
	if r.Realm == "" {
		r.Realm = "a"
	}
	if err := c.Place(r); err != nil {
		c.t.Fatalf("place %s: %v", r.ID, err)
	}
}

// want compares the decisions since the last call: "id@node" or "id!kind".
func (c *cluster) want(what, want string) {
	c.t.Helper()
	var got []string
	for _, d := range c.Decisions() {
		if d.Err != nil {
			got = append(got, d.ID+"!"+string(api.KindOf(d.Err)))
		} else {
			got = append(got, fmt.Sprint(d.ID, "@", d.Node))
		}
	}
	if g := strings.Join(got, " "); g != want {
		c.t.Errorf("%s: decided %q, want %q", what, g, want)
	}
	c.check()
}

// check holds the table against sums and searches made the plain way.
func (c *cluster) check() {
	c.t.Helper()
	if err := c.inspect(); err != nil {
		c.t.Fatal(err)
	}
}
