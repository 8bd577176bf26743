package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
)

// forged is a setup message as docs/ENDPOINTS.md has it, signed with nothing.
func forged(from, to uint16, fromBoot, toBoot uint32, counter uint64, ep api.Endpoint, realm string) []byte {
	_, _, id, _ := ep.Parse()
	be := binary.BigEndian
	b := []byte{0xcf, 1, 0, 0}
	b = be.AppendUint16(b, from)
	b = be.AppendUint32(b, fromBoot)
	b = be.AppendUint16(b, to)
	b = be.AppendUint32(b, toBoot)
	b = be.AppendUint64(b, counter)
	b = append(b, 0)
	b = append(b, id[:]...)
	for _, s := range []string{realm, "proc", "user", "", ""} {
		b = append(append(b, byte(len(s))), s...)
	}
	mac := make([]byte, 32)
	rand.Read(mac)
	b = append(b, mac...)
	be.PutUint16(b[2:], uint16(len(b)-4))
	return b
}

// Whoever reaches the node's port without the cluster's keys gets nothing there,
// and keeps nobody from it.
func TestPROBES_N10_N11_ForgedSetupsAtTheNodesPort(t *testing.T) {
	nodes := StartCluster(t, 2)
	a, b := nodes[0].Client("default"), nodes[1].Client("default")
	_, eps := nodes[0].serving(a, "serve")
	nodes[1].put(b, "eptest")
	nodes[1].ep("default", "dial", string(eps[0]))
	node, boot, _, _ := eps[0].Parse()
	info, err := b.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	realm := nodes[0].endpoints(a)[0].Realm
	nodes[1].serving(b, "serve") // for the other node's boot
	var peerBoot uint32
	for _, e := range nodes[1].endpoints(b) {
		if n, boot, _, _ := e.Endpoint.Parse(); n == info.Number {
			peerBoot = boot
		}
	}
	good := forged(info.Number, node, peerBoot, boot, 1<<40, eps[0], realm)
	before := nodes[0].descriptors()
	flip := func(i int) []byte {
		x := bytes.Clone(good)
		x[i] ^= 1
		return x
	}
	const silent, stale, bad = 255, 3, 4 // answers of docs/ENDPOINTS.md
	for name, tt := range map[string]struct {
		b    []byte
		want byte
	}{
		"signed with nothing": {good, bad}, "another node's": {forged(77, node, peerBoot, boot, 1, eps[0], realm), stale},
		"to another node": {forged(info.Number, 77, peerBoot, boot, 1, eps[0], realm), stale}, "to another boot": {forged(info.Number, node, peerBoot, boot+1, 1, eps[0], realm), stale},
		"of another boot": {forged(info.Number, node, peerBoot+1, boot, 1, eps[0], realm), stale}, "counter 0": {forged(info.Number, node, peerBoot, boot, 0, eps[0], realm), bad},
		"largest counter": {forged(info.Number, node, peerBoot, boot, 1<<64-1, eps[0], realm), bad}, "of itself": {forged(node, node, boot, boot, 1, eps[0], realm), stale},
		"version 9": {flip(1), silent}, "a length that lies": {flip(3), silent}, "cut": {good[:len(good)-1], silent}, "the first byte": {good[:1], silent},
		"a string past the end": {flip(4 + 37), silent}, "length 0": {[]byte{0xcf, 1, 0, 0}, silent}, "length 65535": {[]byte{0xcf, 1, 0xff, 0xff, 1, 2, 3}, silent},
		"garbage": {bytes.Repeat([]byte("garbage"), 100), silent}, "HTTP": {[]byte("GET / HTTP/1.1\r\n\r\n"), silent}, "nothing": {nil, silent}, "zeros": {make([]byte, 600), silent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", nodes[0].flag("--listen"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			begin := time.Now()
			conn.SetDeadline(begin.Add(30 * time.Second))
			conn.Write(tt.b)
			got, _ := io.ReadAll(conn)
			st := byte(silent)
			if len(got) == 42 && got[0] == 1 {
				st = got[1]
			} else if len(got) > 0 && got[0] != 0x15 { // a TLS alert says no as well
				t.Errorf("answered %x", got)
			}
			if st != tt.want || st != silent && !bytes.Equal(got[10:], make([]byte, 32)) {
				t.Errorf("status %d (%x), want %d, unsigned", st, got, tt.want)
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("it lasted %v", took)
			}
		})
	}
	t.Cleanup(func() { // when the parallel ones are through
		if s := nodes[1].epLines("default", "dial", string(eps[0])); s[0].kind != "ok" {
			t.Errorf("a genuine dial after that: %+v", s[0])
		}
		if list := nodes[0].endpoints(a); len(list) == 0 || list[0].Waiting != 0 {
			t.Errorf("ep ls: %+v", list)
		}
		nodes[0].settles(before)
	})
}

// A proc that asks for connections and reads no answer: sigmad keeps little for
// it, others go on, and with its end all is gone.
func TestPROBES_N13_ADeafProcHurtsItselfAlone(t *testing.T) {
	n := StartNode(t)
	a, b := n.realm("hostile"), n.Client("default")
	_, theirs := n.serving(a, "serve")
	_, eps := n.serving(b, "serve")
	n.ep("default", "dial", string(eps[0]))
	before := n.descriptors()
	id := n.Running(a, &api.ProcDesc{Program: "/bin/eptest", Args: []string{"deaf", string(theirs[0]), "100000"}})
	time.Sleep(time.Second)
	if held := n.descriptors() - before; held > 600 {
		t.Errorf("sigmad holds %d descriptors for it", held)
	}
	if r := epReport[struct{ P99, Failed int }](n, "default", "delay", string(eps[0]), "100"); r.Failed != 0 || r.P99 > 1_000_000 {
		t.Errorf("another realm's dials: %+v", r)
	}
	n.kill(a, id)
	n.settles(before)
}

// Listeners come, are dialled, and go with their procs and realms, all at once:
// every dial reaches the endpoint that it names or is refused.
func TestPROBES_N17_DialsRaceWithExitsAndRealmRemovals(t *testing.T) {
	n := StartNode(t)
	stays := n.Client("default")
	_, eps := n.serving(stays, "serve")
	n.ep("default", "dial", string(eps[0]))
	before := n.descriptors()
	rounds := scaled(4, 30)
	var wg sync.WaitGroup
	for r := range 2 { // realms, one after another in each
		wg.Go(func() {
			once := func(round int) {
				name := fmt.Sprintf("r%d-%d", r, round)
				c := n.realm(name)
				defer c.Close() // its connection is among those that are counted
				one, ep1 := n.serving(c, "serve")
				_, ep2 := n.serving(c, "keep") // whose backlog fills
				ids := []api.ProcID{}
				for _, ep := range []api.Endpoint{ep1[0], ep2[0], ep1[0]} {
					ids = append(ids, n.Running(c, &api.ProcDesc{Program: "/bin/eptest", Args: []string{"flood", string(ep), "2"}}))
				}
				time.Sleep(time.Duration(100*(round%4)) * time.Millisecond)
				if round%2 == 0 {
					n.kill(c, one)
				} else {
					if err := c.RemoveRealm(minute(t), name); err != nil {
						t.Errorf("realm rm %s: %v", name, err)
					}
					return
				}
				for _, id := range ids {
					st := n.Await(c, id)
					out := n.logs(c, id)
					for _, k := range []api.Kind{api.Internal, api.Canceled, api.Deadline, api.Unavailable} {
						if strings.Contains(out, `"`+string(k)+`"`) {
							t.Errorf("%s: %v, dials that failed with %s", name, st, out)
						}
					}
				}
				if err := c.RemoveRealm(minute(t), name); err != nil {
					t.Errorf("realm rm %s: %v", name, err)
				}
			}
			for round := range rounds {
				once(round)
			}
		})
	}
	wg.Wait()
	if s := n.epLines("default", "dial", string(eps[0])); s[0].kind != "ok" {
		t.Errorf("afterwards: %+v", s[0])
	}
	n.settles(before)
	if list := n.endpoints(stays); len(list) != 1 {
		t.Errorf("ep ls: %+v, want the one that stays", list)
	}
}

// One realm opens and closes endpoints in a loop, has ten thousand of them, and
// floods dials: it meets its limits, and another realm's dials go on.
func TestPROBES_N19_OneRealmsStormsLeaveTheOthers(t *testing.T) {
	n := StartNode(t)
	a, b := n.realm("storm"), n.Client("default")
	_, eps := n.serving(b, "serve")
	_, theirs := n.serving(a, "serve")
	type delays struct{ P50, P99, Max, Failed int }
	quiet := epReport[delays](n, "default", "delay", string(eps[0]), "300")
	before := n.descriptors()

	many := n.Running(a, &api.ProcDesc{Program: "/bin/eptest", Args: []string{"many", "10000"}, Memory: 256 << 20})
	if got := n.logs(a, many); !strings.HasPrefix(got, "\"10000\"\tok") {
		t.Errorf("10,000 endpoints: %s", got)
	}
	more := n.Running(a, &api.ProcDesc{Program: "/bin/eptest", Args: []string{"many", "10000"}, Memory: 256 << 20})
	if got := n.logs(a, more); !strings.Contains(got, "\tbusy\t") || !strings.Contains(got, "16384 endpoints") {
		t.Errorf("10,000 more: %s", got)
	}
	if held := n.descriptors() - before; held > 100 {
		t.Errorf("endpoints without connections hold %d descriptors of sigmad", held)
	}
	if list := n.endpoints(a); len(list) != 16384 {
		t.Errorf("ep ls shows %d, want 16,384", len(list))
	}
	n.kill(a, more)

	seconds := fmt.Sprint(scaled(3, 12))
	var ids []api.ProcID
	for _, args := range [][]string{{"churn", seconds}, {"flood", string(theirs[0]), seconds}, {"flood", string(theirs[0]), seconds}, {"flood", "ep1-x", seconds}} {
		ids = append(ids, n.Running(a, &api.ProcDesc{Program: "/bin/eptest", Args: args}))
	}
	storm := epReport[delays](n, "default", "delay", string(eps[0]), fmt.Sprint(scaled(300, 3000)))
	t.Logf("dial of another realm, µs: quiet %+v, in the storm %+v", quiet, storm)
	// Four procs of the storm have both cores: the rest of a slice is in a dial's
	// time as well.
	if limit := scaled(1_000_000, 2*max(quiet.P99, 15_000)); storm.Failed != 0 || storm.P99 > limit {
		t.Errorf("another realm's dials in the storm: %+v, want a p99 of at most %d µs", storm, limit)
	}
	for _, id := range ids {
		st := n.Await(a, id)
		t.Logf("%v: %s", st, n.logs(a, id))
		if !st.OK() {
			t.Errorf("a storm ended with %v: %s", st, n.logs(a, id))
		}
	}
	n.kill(a, many)
	eventually(t, 10*time.Second, "the storm's endpoints", func() (bool, string) {
		list := n.endpoints(a)
		return len(list) == 1, fmt.Sprint(len(list))
	})
	n.settles(before)
}

// A token is good for its realm and user, until its realm or key is gone; what
// is not one is refused, late and alike.
func TestPROBES_N32_TokensOfOthersAndOfThePast(t *testing.T) {
	n := StartNode(t, "--gateway", "127.0.0.1:0")
	a := n.realm("shop")
	_, ep := n.serving(a, "serve")
	_, other := n.serving(n.Client("default"), "serve")
	dir := t.TempDir()
	token := func(realm, name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if _, e, code := n.Ctl("realm", "token", realm, "--file", path); code != 0 {
			t.Fatal(e)
		}
		return path
	}
	good := token("shop", "good")
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	i := bytes.Index(text, []byte("v4.public."))
	damaged := []byte(string(text))
	damaged[i+30] ^= 1
	for name, tt := range map[string]struct{ path, want string }{
		"damaged":           {write("damaged", string(damaged), 0o600), "not valid"},
		"readable by all":   {write("open", string(text), 0o644), "chmod 600"},
		"no JSON":           {write("nojson", "v4.public.x", 0o600), "not a token file"},
		"empty":             {write("empty", "", 0o600), "not a token file"},
		"another CA":        {write("ca", strings.Replace(string(text), "BEGIN CERT", "BEGIN CERX", 1), 0o600), "no certificate"},
		"nobody's gateway":  {write("gw", strings.Replace(string(text), `"gateway": "127`, `"gateway": "127.1.1.1:1x`, 1), 0o600), "connect"},
		"for another realm": {good, "is for realm shop"},
	} {
		args := []string{"--context", tt.path, "ps"}
		if name == "for another realm" {
			args = append([]string{"--realm", "default2"}, args...)
		}
		if _, e, code := n.Ctl(args...); code != 1 || !strings.Contains(e, tt.want) {
			t.Errorf("%s: status %d, %q; want 1 and a text with %q", name, code, e, tt.want)
		}
	}
	c := outsideClient(t, good)
	dial := func(ep api.Endpoint) error {
		conn, err := c.Dial(minute(t), ep)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial(ep[0]); err != nil {
		t.Fatal(err)
	}
	never, _ := api.NewEndpoint(1, 1)
	theirs, none := dial(other[0]), dial(never)
	if api.KindOf(theirs) != api.NotFound || theirs.Error() != none.Error() {
		t.Errorf("another realm's endpoint: %v; none: %v", theirs, none)
	}
	for _, verb := range [][]string{{"realm", "ls"}, {"realm", "create", "mine"}, {"realm", "rm", "default"}, {"realm", "token", "default", "--file", filepath.Join(dir, "mine")}, {"cluster", "rotate"}} {
		if _, e, code := n.Ctl(append([]string{"--context", good}, verb...)...); code != 1 || !strings.Contains(e, "operator") {
			t.Errorf("a tenant does %q: status %d, %q", verb, code, e)
		}
	}

	// The keys are replaced and the old ones dropped.
	if _, e, code := n.Ctl("cluster", "rotate"); code != 0 {
		t.Fatal(e)
	}
	newer := ""
	eventually(t, 10*time.Second, "a token of the new keys", func() (bool, string) {
		newer = token("shop", fmt.Sprint("newer", time.Now().UnixNano()))
		if _, e, code := n.Ctl("--context", newer, "ps"); code != 0 {
			return false, e
		}
		return true, ""
	})
	if _, e, code := n.Ctl("cluster", "rotate", "--drop-old"); code != 0 {
		t.Fatal(e)
	}
	eventually(t, 10*time.Second, "the old token's end", func() (bool, string) {
		_, e, code := n.Ctl("--context", good, "ps")
		return code == 1, e
	})
	// The realm goes, and with it what was issued for it; its name made again
	// is another realm.
	if err := a.RemoveRealm(minute(t), "shop"); err != nil {
		t.Fatal(err)
	}
	n.realm("shop")
	for name, path := range map[string]string{"old": good, "newer": newer} {
		if _, e, code := n.Ctl("--context", path, "ps"); code != 1 || strings.Contains(e, "v4.public") {
			t.Errorf("the %s token after realm rm: status %d, %q", name, code, e)
		}
	}
	if err := dial(ep[0]); err == nil {
		t.Error("who was in still dials")
	}
}
