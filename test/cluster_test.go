package test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
	"sigmaos/sigma"
)

// StartCluster starts nodes that know each other, on loopback addresses; the
// first hosts etcd and lets the others in. more are flags of all.
func StartCluster(t *testing.T, count int, more ...string) []*Node {
	t.Helper()
	return StartClusterAs(t, count, func(int, *Node) {}, more...)
}

// StartClusterAs has each node, by its number from 0, prepared before it starts.
func StartClusterAs(t *testing.T, count int, prepare func(i int, n *Node), more ...string) []*Node {
	t.Helper()
	needRoot(t)
	var list []*Node
	first := firstAddr(t)
	var token string
	for i := range count {
		dir, err := os.MkdirTemp("", "sigma-test")
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("n%d", i+1)
		args := append([]string{"--node", name, "--domain", name, "--listen", first, "--uid-base", fmt.Sprint(1_900_000_000 + i*20_000)}, more...)
		if i > 0 {
			args = append(args, "--roles", "node,besched,lcsched,s3,db", "--join", first, "--token-file", token, "--listen", strings.Replace(first, ".1:", fmt.Sprintf(".%d:", i+1), 1))
		}
		n := tidy(t, newNode(t, dir, args...))
		prepare(i, n)
		n.Start()
		if i == 0 {
			token = filepath.Join(t.TempDir(), "join")
			if _, e, code := n.Ctl("cluster", "token", "--file", token); code != 0 {
				t.Fatalf("cluster token: %s", e)
			}
		}
		list = append(list, n)
	}
	for _, n := range list {
		n.awaitMembers(count)
	}
	return list
}

// awaitMembers waits until the node knows so many.
func (n *Node) awaitMembers(count int) {
	n.t.Helper()
	var last []api.NodeInfo
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c, err := n.connect("-")
		if err != nil {
			continue
		}
		err = c.Call(context.Background(), api.MNodes, nil, &last)
		c.Close()
		if err == nil && len(last) == count {
			return
		}
	}
	n.t.Fatalf("%s knows %+v, want %d nodes", n.Name, last, count)
}

// program puts a program into the default realm without running it.
func (n *Node) program(name string) string {
	n.t.Helper()
	f, err := os.Open(Proc(n.t, name))
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	defer f.Close()
	sum, err := binfs.Sum(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, _, err = n.Client("default").Upload(context.Background(), f, name, string(sum.Digest()), sum.Size)
	}
	if err != nil {
		n.t.Fatalf("upload %s: %v", name, err)
	}
	return "/bin/" + name
}

// listener starts an echo proc on a node and returns its endpoint.
func (n *Node) listener() (api.ProcID, api.Endpoint) {
	n.t.Helper()
	c := n.Client("default")
	id := n.Running(c, &api.ProcDesc{Program: n.program("echo"), Args: []string{"serve"}})
	var out strings.Builder
	err := c.Logs(context.Background(), api.LogQuery{Name: string(id), Stream: 1}, func(_ api.LogRecord, data []byte) error {
		out.Write(data)
		return nil
	})
	ep := api.Endpoint(strings.TrimSpace(out.String()))
	if _, _, _, ok := ep.Parse(); err != nil || !ok {
		n.t.Fatalf("the listener printed %q, %v", out.String(), err)
	}
	return id, ep
}

func TestPaper32_DialFromAnyNode(t *testing.T) {
	nodes := StartCluster(t, 3)
	id, ep := nodes[0].listener()
	for _, n := range nodes {
		n.program("echo")
		if out, e, code := n.Ctl("run", "/bin/echo", "say", string(ep), "hello from", n.Name); code != 0 || out != "hello from "+n.Name+"\n" {
			t.Errorf("from %s: %q, %q", n.Name, out, e)
		}
	}
	if err := nodes[0].Client("default").Kill(context.Background(), id, 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			_, e, code := n.Ctl("run", "/bin/echo", "say", string(ep), "x")
			if code == 1 && strings.Contains(e, "connection refused") {
				break
			}
			if time.Now().After(end) {
				t.Errorf("from %s after the listener's end: status %d, %q", n.Name, code, e)
				break
			}
		}
	}
}

func TestClusterKeysAreReplacedWhileItRuns(t *testing.T) {
	nodes := StartCluster(t, 2)
	_, ep := nodes[0].listener()
	nodes[1].program("echo")
	say := func(when string) {
		t.Helper()
		if out, e, code := nodes[1].Ctl("run", "/bin/echo", "say", string(ep), when); code != 0 || out != when+"\n" {
			t.Errorf("%s: %q, %q", when, out, e)
		}
	}
	say("before")
	took := takeKeys(nodes, "node.pem")
	if _, e, code := nodes[0].Ctl("cluster", "rotate"); code != 0 {
		t.Fatal(e)
	}
	say("rotated")
	took()
	if _, e, code := nodes[0].Ctl("cluster", "rotate", "--drop-old"); code != 0 {
		t.Fatal(e)
	}
	say("dropped")
	nodes[1].Stop()
	nodes[1].Start()
	nodes[1].awaitMembers(2)
	say("after a restart with the new keys")
}

func TestJoinIsRefusedWithAReason(t *testing.T) {
	nodes := StartCluster(t, 2)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if _, e, code := nodes[0].Ctl("cluster", "token", "--file", token); code != 0 {
		t.Fatal(e)
	}
	good, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	wrong := []byte(strings.TrimSpace(string(good)))
	wrong[len(wrong)-5] ^= 3
	addr := nodes[0].flag("--listen")
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"wrong token":          {[]string{"--node", "x1", "--token-file", write("wrong", string(wrong), 0o600)}, "token"},
		"token of others":      {[]string{"--node", "x2", "--token-file", write("open", string(good), 0o644)}, "chmod"},
		"no token":             {[]string{"--node", "x3", "--token-file", filepath.Join(dir, "none")}, "none"},
		"a name that is taken": {[]string{"--node", "n2", "--token-file", token}, "another node"},
		"nobody there":         {[]string{"--node", "x4", "--token-file", token, "--join", "127.0.0.1:1"}, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := t.TempDir()
			n := newNode(t, d, append([]string{"--roles", "node", "--join", addr, "--listen", strings.Replace(addr, ".1:", ".9:", 1)}, tt.args...)...)
			e, code := n.startAndFail()
			if code != 1 || !strings.Contains(e, tt.want) {
				t.Errorf("status %d, %q; want 1 and a text with %q", code, e, tt.want)
			}
			if strings.Contains(e, string(wrong[len(wrong)-20:])) {
				t.Errorf("the error shows the token: %s", e)
			}
		})
	}
}

// flag is the value of a flag that the node was started with.
func (n *Node) flag(name string) (v string) {
	for i, a := range n.args {
		if a == name {
			v = n.args[i+1]
		}
	}
	return v
}

// A realm has one name space on all nodes; scratch is on the node that its path
// names.
func TestPaper33_OneNameSpaceOnAllNodes(t *testing.T) {
	nodes := StartCluster(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var names []*sigma.Names
	for _, n := range nodes {
		names = append(names, n.Client("default").Names())
	}
	if _, err := names[0].PutFile(ctx, "/conf", []byte("one")); err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		if b, _, err := n.GetFile(ctx, "/conf"); err != nil || string(b) != "one" {
			t.Errorf("node %d reads %q, %v", i+1, b, err)
		}
	}
	awaitScratch(t, names[0], 3)
	for i, n := range names {
		path := fmt.Sprintf("/ux/~local/from-%d", i+1)
		if _, err := n.PutFile(ctx, path, []byte(path)); err != nil {
			t.Fatal(err)
		}
		abs, err := n.AbsPath(ctx, path)
		if want := fmt.Sprintf("/ux/n%d/from-%d", i+1, i+1); err != nil || abs != want {
			t.Errorf("AbsPath(%s) on node %d is %q, %v; want %q", path, i+1, abs, err, want)
		}
		other := names[(i+1)%3]
		if b, _, err := other.GetFile(ctx, abs); err != nil || string(b) != path {
			t.Errorf("%s from another node: %q, %v", abs, b, err)
		}
	}
	// A node that dies takes its link with it, and ~any skips it meanwhile.
	nodes[2].Kill()
	for range 20 {
		if list, err := names[0].ReadDir(ctx, "/ux/~any", "", 0); err != nil || len(list) == 0 {
			t.Fatalf("~any after a death: %v, %v", list, err)
		}
	}
	awaitScratch(t, names[0], 2)
	nodes[2].Start() // cleans what it left
	awaitScratch(t, names[0], 3)
}

// awaitScratch waits until /ux has so many nodes.
func awaitScratch(t *testing.T, n *sigma.Names, count int) {
	t.Helper()
	awaitDir(t, n, "/ux", count)
}

// Programs outside come in through the gateway with a token and nothing else.
func TestGatewayLeadsIntoTheRealm(t *testing.T) {
	n := StartNode(t, "--gateway", "127.0.0.1:0")
	id, ep := n.listener()
	file := filepath.Join(t.TempDir(), "token")
	if _, e, code := n.Ctl("realm", "token", "default", "--user", "ann", "--file", file); code != 0 {
		t.Fatal(e)
	}
	c := outsideClient(t, file)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := c.Dial(ctx, ep)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("through the gateway ", 50_000)
	go func() {
		io.WriteString(conn, want)
		conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if got, err := io.ReadAll(conn); err != nil || string(got) != want {
		t.Errorf("%d of %d bytes came back, %v", len(got), len(want), err)
	}
	if p, ok := sigma.PeerOf(conn); !ok || p.Proc != id {
		t.Errorf("the peer is %+v, want proc %s", p, id)
	}
	if _, err := c.Names().PutFile(ctx, "/from-outside", []byte("x")); err != nil {
		t.Error(err)
	}
	if i, err := c.Names().Stat(ctx, "/from-outside"); err != nil || i.Owner != "ann" {
		t.Errorf("the file is %+v, %v; want it to be ann's", i, err)
	}
	if _, _, code := n.Ctl("realm", "rm", "default"); code != 0 {
		t.Error("the realm cannot be removed")
	}
	if _, err := c.Dial(ctx, ep); err == nil {
		t.Error("the token of a removed realm still leads in")
	}
}

// sigmad dev --nodes N is a cluster of N processes that comes and goes as one.
func TestDevClusterOfThree(t *testing.T) {
	n := StartNode(t, "--nodes", "3")
	n.awaitMembers(3)
	ctx := minute(t)
	names := n.Client("default").Names()
	awaitScratch(t, names, 3)
	if _, err := names.PutFile(ctx, "/ux/n3/f", []byte("x")); err != nil {
		t.Error(err)
	}
	if _, e, code := n.Ctl("info"); code != 0 {
		t.Errorf("without a choice of clusters: %s", e)
	}
}
