package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

// said is one line of eptest: what it tried and what came of it.
type said struct {
	what string
	kind api.Kind // "ok" for none
	took time.Duration
	text string
}

// ep runs eptest to its end in a realm and returns what it printed.
func (n *Node) ep(realm string, args ...string) string {
	n.t.Helper()
	out, e, code := n.Ctl(append([]string{"--realm", realm, "run", "--fds", "2000", Proc(n.t, "eptest")}, args...)...)
	if code != 0 {
		n.t.Fatalf("eptest %.60q in %s: status %d, %s", args, realm, code, e)
	}
	return out
}

// epLines is ep with its lines taken apart.
func (n *Node) epLines(realm string, args ...string) (list []said) {
	n.t.Helper()
	for _, line := range strings.Split(strings.TrimRight(n.ep(realm, args...), "\n"), "\n") {
		f := strings.SplitN(line, "\t", 4)
		if len(f) != 4 {
			n.t.Fatalf("eptest printed %q", line)
		}
		what, _ := strconv.Unquote(f[0])
		us, _ := strconv.ParseInt(f[2], 10, 64)
		list = append(list, said{what, api.Kind(f[1]), time.Duration(us) * time.Microsecond, f[3]})
	}
	return list
}

// epReport is ep with the JSON that it printed.
func epReport[T any](n *Node, realm string, args ...string) (v T) {
	n.t.Helper()
	out := n.ep(realm, args...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		n.t.Fatalf("eptest %q printed %q: %v", args, out, err)
	}
	return v
}

// serving starts eptest and returns the endpoints that it printed before it
// said Started.
func (n *Node) serving(c *admin.Client, args ...string) (api.ProcID, []api.Endpoint) {
	n.t.Helper()
	id := n.Running(c, &api.ProcDesc{Program: n.put(c, "eptest"), Args: args, FDs: 2000, Threads: 100, Memory: 256 << 20})
	want := 1
	if len(args) > 1 && args[0] == "serve" {
		want, _ = strconv.Atoi(args[1])
	}
	var eps []api.Endpoint
	// Started and the output take different ways: the output may come later.
	eventually(n.t, 20*time.Second, "the endpoints are printed", func() (bool, string) {
		text := n.logs(c, id)
		eps = nil
		for _, f := range strings.Fields(text) {
			eps = append(eps, api.Endpoint(f))
		}
		return len(eps) >= want && strings.HasSuffix(text, "\n"), text
	})
	return id, eps
}

func (n *Node) logs(c *admin.Client, id api.ProcID) string {
	n.t.Helper()
	var out strings.Builder
	err := c.Logs(context.Background(), api.LogQuery{Name: string(id), Stream: 1}, func(_ api.LogRecord, data []byte) error {
		out.Write(data)
		return nil
	})
	if err != nil {
		n.t.Fatalf("logs %s: %v", id, err)
	}
	return out.String()
}

// put uploads a program through a client that is in a realm.
func (n *Node) put(c *admin.Client, name string) string {
	n.t.Helper()
	path := Proc(n.t, name)
	f, err := os.Open(path)
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	defer f.Close()
	digest, size := sum(n.t, path)
	if _, _, err := c.Upload(context.Background(), f, name, digest, size); err != nil {
		n.t.Fatalf("upload %s: %v", name, err)
	}
	return "/bin/" + name
}

// realm makes one and connects in it.
func (n *Node) realm(name string) *admin.Client {
	n.t.Helper()
	op := n.Client("-")
	defer op.Close()
	if _, err := op.CreateRealm(context.Background(), api.Realm{Name: name}); err != nil {
		n.t.Fatalf("realm %s: %v", name, err)
	}
	return n.Client(name)
}

// kill ends a proc and waits until it is gone.
func (n *Node) kill(c *admin.Client, id api.ProcID) {
	n.t.Helper()
	if err := c.Kill(context.Background(), id, 0); err != nil {
		n.t.Fatalf("kill %s: %v", id, err)
	}
	n.Await(c, id)
}

// A token of another realm, a closed one, one that never was and what is no
// token: from inside a proc they all look the same.
func TestPROBES_N1_N2_WrongTokensLookAlikeFromAProc(t *testing.T) {
	n := StartNode(t)
	a, b := n.Client("default"), n.realm("other")
	_, eps := n.serving(a, "serve", "2")
	good := eps[0]
	closer, closed := n.serving(a, "serve")
	n.kill(a, closer)
	flip := func(i int) string {
		x := []byte(good)
		if x[i]++; x[i] > 'z' {
			x[i] = 'a'
		}
		return string(x)
	}
	tokens := []string{string(closed[0]), flip(6), flip(9), flip(20), flip(len(good) - 1), string(good[:20]), string(good) + "a", strings.ToUpper(string(good)), "x", "ep1-", "../x", strings.Repeat("a", 60_000)}
	text := ""
	check := func(s said) {
		t.Helper()
		if text == "" {
			text = s.text
		}
		if s.kind != api.NotFound || s.text != text || !strings.Contains(s.text, "connection refused") || s.took < 3*time.Millisecond {
			t.Errorf("%s: %q (kind %q) after %v, want %q", s.what, s.text, s.kind, s.took, text)
		}
	}
	for _, s := range n.epLines("default", append([]string{"dial"}, tokens...)...) {
		check(s)
	}
	for _, s := range n.epLines("other", "dial", string(good), string(eps[1])) {
		check(s)
	}
	if s := n.epLines("default", "dial", string(good)); s[0].kind != "ok" {
		t.Errorf("the good one: %+v", s[0])
	}
	if _, err := b.Dial(minute(t), good); api.KindOf(err) != api.NotFound {
		t.Errorf("an operator in another realm: %v", err)
	}
}

// Frames that no library sends: each has its answer, the channel lives, and so
// does sigmad.
func TestPROBES_N2_GarbageInFrames(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	_, eps := n.serving(c, "serve")
	n.ep("default", "dial", string(eps[0]))
	before := n.descriptors()
	got := n.epLines("default", "raw", string(eps[0]))
	for _, s := range got {
		// The last of two fields counts, as everywhere in the protocol.
		want := []api.Kind{api.NotFound, api.Invalid, api.TooLarge}
		if s.what == "dial bad then good" {
			want = []api.Kind{"ok"}
		}
		if !slices.Contains(want, s.kind) {
			t.Errorf("%s: kind %q (%.80s), want one of %q", s.what, s.kind, s.text, want)
		}
	}
	if len(got) < 25 {
		t.Errorf("only %d answers", len(got))
	}
	if s := n.epLines("default", "dial", string(eps[0])); s[0].kind != "ok" {
		t.Errorf("after that: %+v", s[0])
	}
	n.settles(before)
}

// settles waits until sigmad has no more descriptors than before, but for
// slots that stay warm.
func (n *Node) settles(before int) {
	n.t.Helper()
	eventually(n.t, 10*time.Second, "sigmad's descriptors", func() (bool, string) {
		now := n.descriptors()
		return now <= before+60, fmt.Sprintf("%d, before %d", now, before)
	})
}

// Inside is not outside: one of each range, and this machine's own, with the
// node's and the metrics' ports.
func TestPROBES_N5_N8_N35_ProvidersAddressesAreOutOfReach(t *testing.T) {
	n := StartNode(t, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--deny", "8.8.8.0/24,2606:4700::/32")
	c := n.Client("default")
	info, err := c.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	list := []string{
		info.Metrics, info.Gateway, "localhost:80", "8.8.8.8:53", "[2606:4700::1111]:80",
		"10.1.2.3:80", "172.16.0.1:80", "172.31.9.9:80", "192.168.1.1:80", "127.0.0.1:80", "127.9.9.9:2379", "0.0.0.0:80", "0.1.2.3:80", "169.254.169.254:80",
		"100.64.0.1:80", "192.0.0.170:80", "192.0.2.1:80", "198.18.0.1:80", "224.0.0.1:80", "240.0.0.1:80", "255.255.255.255:80",
		"[::]:80", "[::1]:80", "[fc00::1]:80", "[fd00::1]:80", "[fe80::1]:80", "[fe80::1%25eth0]:80", "[fe80::1%eth0]:80", "[fec0::1]:80", "[ff02::1]:80",
		"[::ffff:127.0.0.1]:80", "[::ffff:169.254.169.254]:80", "[64:ff9b::10.0.0.1]:80", "[2002:7f00:1::]:80", "[2001:0:a00:1::fefe:fefe]:80", "[::127.0.0.1]:80",
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, netip.AddrPortFrom(p.Addr().WithZone(""), 22).String())
		}
	}
	for _, s := range n.epLines("default", append([]string{"external"}, list...)...) {
		if s.kind != api.Denied && s.kind != api.Invalid && s.kind != api.NotFound || s.took > 10*time.Second {
			t.Errorf("%s: kind %q after %v (%s)", s.what, s.kind, s.took, s.text)
		}
	}
}

// An endpoint is its maker's alone: to others of the realm there is none to
// accept on or to close.
func TestPROBES_N29_N30_EndpointsOfOthersCannotBeTaken(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	n.realm("other")
	_, eps := n.serving(c, "serve")
	never := "ep1-aaaqaaaaafomgfhwr4n5iyxzu7tjxn64nreq"
	var texts []string
	for _, s := range append(n.epLines("default", "steal", string(eps[0]), never), n.epLines("other", "steal", string(eps[0]))...) {
		verb, _, _ := strings.Cut(s.what, " ")
		if s.kind != api.NotFound {
			t.Errorf("%s: kind %q (%s), want %q", s.what, s.kind, s.text, api.NotFound)
		}
		texts = append(texts, verb+strings.NewReplacer(eps[0].Short(), "EP", api.Endpoint(never).Short(), "EP").Replace(s.text))
	}
	slices.Sort(texts)
	if texts = slices.Compact(texts); len(texts) != 2 {
		t.Errorf("somebody else's can be told from none: %q", texts)
	}
	if s := n.epLines("default", "dial", string(eps[0])); s[0].kind != "ok" {
		t.Errorf("after that: %+v", s[0])
	}
	if _, _, err := c.NewEndpoint(minute(t)); api.KindOf(err) != api.Denied {
		t.Errorf("an operator listens: %v", err)
	}
}

// A connection is a connection: it cannot leave its class, go elsewhere, or
// carry descriptors; and no other socket can be had.
func TestPROBES_N14_N16_N20_N39_MisuseOfAConnection(t *testing.T) {
	nodes := StartCluster(t, 2)
	_, eps := nodes[0].serving(nodes[0].Client("default"), "serve")
	for name, n := range map[string]*Node{"same node": nodes[0], "other node": nodes[1]} {
		before := nodes[0].descriptors()
		tries := 0
		for _, line := range strings.Split(strings.TrimSpace(n.ep("default", "misuse", string(eps[0]))), "\n") {
			what, errno, _ := strings.Cut(line, "\t")
			want := "1" // EPERM
			if strings.Contains(what, "which it may") || strings.HasPrefix(what, "the connection says still") {
				want = "0"
			}
			if errno != want && !(want == "1" && errno == "38") {
				t.Errorf("%s: %s: errno %s, want %s", name, what, errno, want)
			}
			tries++
		}
		if tries < 25 {
			t.Errorf("%s: only %d tries", name, tries)
		}
		nodes[0].settles(before)
	}
}

// A proc that dies takes its endpoints with it: dials are refused, connections
// that waited end.
func TestPaper42_AProcsDeathClosesItsListeners(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	id, eps := n.serving(c, "keep")
	waiting, err := c.Dial(minute(t), eps[0])
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	waiting.SetDeadline(time.Now().Add(20 * time.Second))
	list := n.endpoints(c)
	if len(list) != 1 || list[0].Proc != id || list[0].Waiting != 1 || list[0].Endpoint != eps[0] {
		t.Errorf("ep ls: %+v, want one of %s with a connection that waits", list, id)
	}
	n.kill(c, id)
	if _, err := waiting.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that nobody accepted: %v, want its end", err)
	}
	eventually(t, patience, "the end of the endpoint", func() (bool, string) {
		_, err := c.Dial(minute(t), eps[0])
		return api.KindOf(err) == api.NotFound && strings.Contains(err.Error(), "connection refused"), fmt.Sprint(err)
	})
	if list := n.endpoints(c); len(list) != 0 {
		t.Errorf("ep ls after its death: %+v", list)
	}
}

// endpoints is what sigmactl ep ls shows.
func (n *Node) endpoints(c *admin.Client) (list []api.EndpointInfo) {
	n.t.Helper()
	if err := c.Call(context.Background(), api.MEndpoints, nil, &list); err != nil {
		n.t.Fatalf("ep ls: %v", err)
	}
	return list
}

// What a listener knows of a peer is what σOS knows.
func TestPaper42_TheListenerKnowsTheProc(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	id := n.Running(c, &api.ProcDesc{Program: n.put(c, "echo"), Args: []string{"serve"}})
	ep := api.Endpoint(strings.TrimSpace(n.logs(c, id)))
	conn, err := c.Dial(minute(t), ep)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p, ok := sigma.PeerOf(conn); !ok || p.Proc != id || p.Endpoint != ep {
		t.Errorf("the dialer sees %+v, want proc %s", p, id)
	}
	out, e, code := n.Ctl("run", "/bin/echo", "say", string(ep), "hello")
	if code != 0 || out != "hello\n" {
		t.Fatalf("%q %q", out, e)
	}
	eventually(t, patience, "the listener's log", func() (bool, string) {
		_, e, _ := n.Ctl("logs", string(id))
		return strings.Contains(e, "connection from echo-"), e
	})
}
