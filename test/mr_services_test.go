package test

import (
	"maps"
	"testing"

	"sigmaos/sigma/mr"
)

// The services under a job are killed one at a time while it runs: a holder of a
// shard of the queue, the holder of lcsched, the nodes that may lead the realm's
// names one after the other, and the one that serves all intermediate files. The
// output is byte for byte that of a job that was left alone.
func TestFAULTS_F32_AServiceUnderAJobIsKilled(t *testing.T) {
	p := startPeers(t, 3, "--roles", "node,named")
	client := p.join("--roles", "node") // with the job's input and output; not killed
	queues := []*Node{p.join("--roles", "node,besched,lcsched", "--log-level", "info"), p.join("--roles", "node,besched,lcsched", "--log-level", "info")}
	p.voters(client, 1, 2, 3)
	client.awaitMembers(6)
	lines := scaled(700, 3000)
	putFiles(t, client, "/ux/n4/in", slowInput(lines))
	begin := func(name string, more ...string) { startSlowIn(t, client, "/ux/n4", name, name, more...) }
	begin("alone")
	ended(t, client, "alone")
	want := parts(t, client, "/ux/n4/alone")

	lcsched, shard := queues[0], queues[1]
	if shard.isLCSched() {
		lcsched, shard = shard, lcsched
	}
	c := client.Client("default")
	for _, story := range []struct {
		name string
		kill func() *Node
		ok   func(*mr.State) bool
	}{
		{"shard", func() *Node { shard.Kill(); return shard }, nil},
		{"lcsched", func() *Node { // which the next leader needs, for a standby
			killLeader(t, c, "/mr/lcsched")
			lcsched.Kill()
			return lcsched
		}, func(s *mr.State) bool { return s.Terms > 1 }},
		{"named", func() *Node {
			for _, n := range p.list[:3] {
				n.Kill()
				n.Start()
				p.voters(client, 1, 2, 3)
			}
			return nil
		}, nil},
		{"ux", func() *Node {
			p.list[1].Kill()
			p.list[1].Start()
			return nil
		}, nil},
	} {
		t.Run(story.name, func(t *testing.T) {
			begin(story.name, "--intermediate", map[bool]string{true: "/ux/n2", false: "/ux/~local"}[story.name == "ux"])
			until(t, client, story.name, func(s *mr.State) bool { return s.Maps.Done >= 6 })
			dead := story.kill()
			s := ended(t, client, story.name)
			if got := parts(t, client, "/ux/n4/"+story.name); !maps.Equal(got, want) {
				t.Errorf("%d parts are not those of the job that was left alone: %+v", len(got), s.State)
			}
			if story.ok != nil && !story.ok(&s.State) {
				t.Errorf("the kill was not felt: %+v", s.State)
			}
			if dead != nil {
				dead.Start()
				p.voters(client, 1, 2, 3)
				client.awaitMembers(6)
			}
		})
	}
}
