package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
)

// peers are the nodes of a cluster in which every one may host an etcd peer.
type peers struct {
	t     *testing.T
	first string // address of the first node
	token string
	list  []*Node
}

// startPeers starts the first node of a cluster and has others join.
func startPeers(t *testing.T, count int, more ...string) *peers {
	t.Helper()
	needRoot(t)
	p := &peers{t: t, first: firstAddr(t)}
	for range count {
		p.join(more...)
	}
	return p
}

// takeKeys looks at what nodes have of the cluster's keys, their certificates
// (node.pem) or whom they trust (trust.pem); wait returns when each has others.
func takeKeys(list []*Node, file string) (wait func()) {
	keys := func(n *Node) string {
		n.t.Helper()
		b, err := os.ReadFile(filepath.Join(n.Dir, "data", "identity", file))
		if err != nil {
			n.t.Fatalf("%v", err)
		}
		return string(b)
	}
	before := make([]string, len(list))
	for i, n := range list {
		before[i] = keys(n)
	}
	return func() {
		for i, n := range list {
			eventually(n.t, 30*time.Second, n.Name+" takes the new keys", func() (bool, string) { return keys(n) != before[i], n.err.String() })
		}
	}
}

// join starts one more node.
func (p *peers) join(more ...string) *Node {
	p.t.Helper()
	i := len(p.list)
	dir, err := os.MkdirTemp("", "sigma-test")
	if err != nil {
		p.t.Fatal(err)
	}
	args := append([]string{"--node", fmt.Sprintf("n%d", i+1), "--listen", strings.Replace(p.first, ".1:", fmt.Sprintf(".%d:", i+1), 1),
		"--uid-base", fmt.Sprint(1_900_000_000 + i*20_000), "--roles", "node,besched,lcsched,named", "--memory", "1GiB"}, more...)
	if i > 0 {
		args = append(args, "--join", p.first, "--token-file", p.token)
	}
	n := startIn(p.t, dir, args...)
	if i == 0 {
		p.token = filepath.Join(p.t.TempDir(), "join")
		if _, e, code := n.Ctl("cluster", "token", "--file", p.token); code != 0 {
			p.t.Fatalf("cluster token: %s", e)
		}
	}
	p.list = append(p.list, n)
	return n
}

// voters waits until these nodes, by number, have the votes, as on sees it.
func (p *peers) voters(on *Node, want ...int) {
	p.t.Helper()
	var names []string
	for _, i := range want {
		names = append(names, fmt.Sprintf("n%d", i))
	}
	eventually(p.t, time.Minute, fmt.Sprintf("voters %v", names), func() (bool, string) {
		list, err := on.etcdPeers()
		var got []string
		for _, e := range list {
			if e.Voter {
				got = append(got, e.Node)
			}
		}
		slices.Sort(got)
		return slices.Equal(got, names), fmt.Sprintf("%+v, %v\n%s", list, err, on.err)
	})
}

func (n *Node) etcdPeers() (list []api.EtcdPeer, err error) {
	c, err := n.connect("-")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return list, c.Call(ctx, api.MEtcdPeers, nil, &list)
}

// etcdPut writes once through a node's etcd client and says how long it took.
func (n *Node) etcdPut(within time.Duration) (time.Duration, error) {
	c, err := n.connect("-")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var out api.EtcdProbed
	begin := time.Now()
	err = c.Call(ctx, api.MProbe, api.EtcdProbe{Puts: 1, Size: 100, Callers: 1}, &out)
	return time.Since(begin), err
}

// Peers grow from one to three when the third node is there, and to five with the
// fifth; one that is gone is replaced, by age or by node rm, and comes back as a
// follower or not at all.
func TestEtcdGrowsAndReplaces(t *testing.T) {
	p := startPeers(t, 2, "--replace-ms", "3000", "--notice-ms", "1000")
	n1 := p.list[0]
	if list, err := n1.etcdPeers(); err != nil || len(list) != 1 {
		t.Errorf("with two nodes there are %+v, %v; want one peer", list, err)
	}
	ctx := minute(t)
	if _, err := n1.Client("default").Names().PutFile(ctx, "/kept", []byte("x")); err != nil {
		t.Fatal(err)
	}
	p.join("--replace-ms", "3000", "--notice-ms", "1000")
	p.voters(n1, 1, 2, 3)
	n4 := p.join("--replace-ms", "3000", "--notice-ms", "1000")
	p.voters(n1, 1, 2, 3)
	p.list[2].Kill()
	p.voters(n1, 1, 2, 4)
	p.list[2].Start() // its peer was removed meanwhile; it follows
	p.voters(n4, 1, 2, 4)

	// The first one goes for good.
	p.list[0].Kill()
	if _, e, code := n4.Ctl("node", "rm", "n1"); code != 0 {
		t.Fatalf("node rm: %s", e)
	}
	p.voters(n4, 2, 3, 4)
	eventually(t, 30*time.Second, "the file under another leader", func() (bool, string) {
		b, _, err := n4.Client("default").Names().GetFile(minute(t), "/kept")
		return err == nil && string(b) == "x", fmt.Sprintf("%q, %v", b, err)
	})
	if e, code := p.list[0].startAndFail(); code != 1 || !strings.Contains(e, "was removed from its cluster") || !strings.Contains(e, "join with a token") {
		t.Errorf("the removed node comes back: status %d, %q", code, e)
	}
	// As it said: emptied, it joins like a new one, and its name is free.
	if err := os.RemoveAll(filepath.Join(p.list[0].Dir, "data")); err != nil {
		t.Fatal(err)
	}
	p.list[0].args = append(p.list[0].args, "--join", n4.flag("--listen"), "--token-file", p.token)
	p.list[0].Start()
	p.list[0].awaitMembers(4)
	if _, e, code := n4.Ctl("node", "rm", "n9"); code != 1 || !strings.Contains(e, "no node of this name") {
		t.Errorf("node rm n9: %d, %q", code, e)
	}
	if _, e, code := n4.Ctl("node", "rm", "n4"); code != 1 || !strings.Contains(e, "ask another") {
		t.Errorf("node rm of the node itself: %d, %q", code, e)
	}
}

func TestFAULTS_F11_OneEtcdPeerOfThreeIsLost(t *testing.T) {
	p := startPeers(t, 3)
	p.voters(p.list[0], 1, 2, 3)
	for _, victim := range []string{"leader", "follower"} {
		list, err := p.list[0].etcdPeers()
		if err != nil {
			t.Fatal(err)
		}
		var dead *Node
		for i, n := range p.list {
			for _, e := range list {
				if e.Node == fmt.Sprintf("n%d", i+1) && e.Leader == (victim == "leader") {
					dead = n
				}
			}
		}
		var left []*Node
		for _, n := range p.list {
			if n != dead {
				left = append(left, n)
			}
		}
		var took []time.Duration
		dead.Kill()
		for end := time.Now().Add(scaled(3*time.Second, time.Minute)); time.Now().Before(end) || len(took) < 300; {
			begin := time.Now()
			eventually(t, 30*time.Second, victim+" killed: a write", func() (bool, string) {
				_, err := left[len(took)%2].etcdPut(20 * time.Second)
				return err == nil, fmt.Sprint(err)
			})
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		if p99 := took[len(took)*99/100]; p99 > 2*time.Second {
			t.Errorf("%s killed: p99 of %d writes is %v, want less than two elections (2 s)", victim, len(took), p99)
		}
		t.Logf("%s killed: %d writes, p50 %v, longest %v", victim, len(took), took[len(took)/2], took[len(took)-1])
		dead.Start()
		p.voters(dead, 1, 2, 3)
	}
}

func TestBootstrapIsForTheVeryFirstStart(t *testing.T) {
	n := StartNode(t, "--bootstrap")
	n.Stop()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"twice":         {nil, "without --bootstrap"},
		"and join":      {[]string{"--join", "127.0.0.1:1"}, "give one of them"},
		"without named": {[]string{"--roles", "node"}, "needs the role named"},
	} {
		m := *n
		m.args = append(slices.Clone(n.args), tt.args...)
		if e, code := m.startAndFail(); code != 1 || !strings.Contains(e, tt.want) {
			t.Errorf("%s: status %d, %q; want 1 and %q", name, code, e, tt.want)
		}
	}
	n.args = slices.DeleteFunc(n.args, func(a string) bool { return a == "--bootstrap" })
	n.Start()
}

// sigmad dev --nodes 3 has three peers from the beginning, and again after a stop
// or a kill of them all; alone it says what is missing.
func TestDevClusterHasThreeEtcdPeers(t *testing.T) {
	n := StartNode(t, "--nodes", "3")
	check := func(when string) {
		t.Helper()
		n.awaitMembers(3)
		list, err := n.etcdPeers()
		if err != nil || len(list) != 3 || slices.ContainsFunc(list, func(p api.EtcdPeer) bool { return !p.Voter }) {
			t.Errorf("%s: %+v, %v; want three voters", when, list, err)
		}
	}
	check("at first")
	if _, err := n.Client("default").Names().PutFile(minute(t), "/kept", []byte("x")); err != nil {
		t.Fatal(err)
	}
	n.Stop()
	alone := *n
	alone.args = slices.DeleteFunc(slices.Clone(n.args), func(a string) bool { return a == "--nodes" || a == "3" })
	if e, code := alone.startAndFail(); code != 1 || !strings.Contains(e, "--nodes") {
		t.Errorf("one of three alone: %d, %q", code, e)
	}
	n.Start()
	check("after a stop")
	eventually(t, 30*time.Second, "the file", func() (bool, string) {
		b, _, err := n.Client("default").Names().GetFile(minute(t), "/kept")
		return err == nil && string(b) == "x", fmt.Sprintf("%q, %v", b, err)
	})
}

// Keys are replaced under etcd's peers, which find each other again with the new
// ones.
func TestKeysAreReplacedUnderThreeEtcdPeers(t *testing.T) {
	p := startPeers(t, 3)
	n1, n3 := p.list[0], p.list[2]
	p.voters(n1, 1, 2, 3)
	took := takeKeys(p.list, "node.pem")
	if _, e, code := n1.Ctl("cluster", "rotate"); code != 0 {
		t.Fatal(e)
	}
	took()
	took = takeKeys(p.list, "trust.pem")
	if _, e, code := n1.Ctl("cluster", "rotate", "--drop-old"); code != 0 {
		t.Fatal(e)
	}
	took()
	n3.Kill()
	n3.Start()
	p.voters(n3, 1, 2, 3)
	p.list[0].Kill() // now the two that are left need each other
	eventually(t, time.Minute, "a write with the new keys", func() (bool, string) {
		_, err := n3.etcdPut(10 * time.Second)
		return err == nil, fmt.Sprint(err)
	})
	n1.Start()
	p.voters(n1, 1, 2, 3)
}
