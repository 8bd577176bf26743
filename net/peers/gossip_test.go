package peers

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/net/gossip"
	"sigmaos/net/pki"
	"sigmaos/net/rpc"
)

// With gossip for a directory: three nodes link to each other, one dies, one
// leaves.
func TestWithGossip(t *testing.T) {
	w := newWorld(t)
	log := slog.New(slog.DiscardHandler)
	type member struct {
		g *gossip.Gossip
		n *node
	}
	var ms []member
	for i := uint16(1); i <= 3; i++ {
		p := w.listen(i, "127.0.0.1:0")
		cfg := gossip.Config{Port: p, Boot: 1, Secrets: [][]byte{[]byte("a secret of the cluster")}, Notice: time.Second, Logger: log}
		if i > 1 {
			cfg.Seeds = []gossip.Seed{{Name: "n1", Addr: ms[0].n.port.Addr().String()}}
		}
		g, err := gossip.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		server := rpc.NewServer(Beats(rpc.Options{}))
		server.Handle("who", func(_ context.Context, r *rpc.Request) ([]byte, error) {
			return []byte(fmt.Sprintf("n%d serves %v", i, r.Peer.(pki.Peer))), nil
		})
		n := &node{port: p}
		if n.Peers, err = Start(Config{Port: p, Directory: g, Server: server, Logger: log}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.stop)
		ms = append(ms, member{g, n})
	}
	await(t, "all see all", func() bool {
		for _, m := range ms {
			if len(m.g.Members()) != 3 {
				return false
			}
		}
		return true
	})
	var links []*rpc.Client
	for _, from := range ms {
		for to := uint16(1); to <= 3; to++ {
			// On a busy machine gossip may give up one that lives, for a moment.
			var got string
			var c *rpc.Client
			var err error
			await(t, fmt.Sprintf("a call to %d", to), func() bool {
				got, c, err = from.n.who(t, to)
				return api.KindOf(err) != api.Unavailable
			})
			if err != nil || !strings.HasPrefix(got, fmt.Sprintf("n%d serves", to)) {
				t.Fatalf("a call to %d: %q, %v", to, got, err)
			}
			links = append(links, c)
		}
	}
	// n3 dies: its links break, and when gossip knows, nobody looks for it.
	ms[2].g.Close()
	ms[2].n.stop()
	done(t, "link of n1 to n3", links[2])
	_, err := ms[0].n.Link(t.Context(), 3)
	wantKind(t, "Link to a dead node", err, api.Unavailable)
	await(t, "n1 has given n3 up", func() bool { return len(ms[0].n.Links()) == 2 })
	// n2 leaves.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ms[1].g.Leave(ctx); err != nil {
		t.Error(err)
	}
	done(t, "link of n1 to n2", links[1])
	done(t, "link of n2 to n1", links[3])
}
