package test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// talked is what eptest's talk prints.
type talked struct {
	Conns   int
	Trips   int64
	Wrong   int
	Ended   int
	MaxGap  float64 // ms
	Dials   int
	MaxDial float64 // ms
	Refused map[api.Kind]int
}

// stopped has a node's sigmad do nothing until the end of the test, or cont.
func (n *Node) stopped(t *testing.T) (cont func()) {
	t.Helper()
	pid := n.PID()
	hang(t, pid)
	var once sync.Once
	cont = func() { once.Do(func() { syscall.Kill(pid, syscall.SIGCONT) }) }
	t.Cleanup(cont)
	return cont
}

// talking starts talk, with so many connections for so many seconds.
func (n *Node) talking(c *admin.Client, ep api.Endpoint, conns, seconds int) api.ProcID {
	n.t.Helper()
	return n.Running(c, &api.ProcDesc{
		Program: n.put(c, "eptest"), Args: []string{"talk", string(ep), fmt.Sprint(conns), fmt.Sprint(seconds)}, FDs: 2000, Threads: 100, Memory: 256 << 20,
	})
}

func (n *Node) talkedOf(c *admin.Client, id api.ProcID) (r talked) {
	n.t.Helper()
	if st := n.Await(c, id); !st.OK() {
		n.t.Fatalf("the proc that talks: %v", st)
	}
	if err := json.Unmarshal([]byte(n.logs(c, id)), &r); err != nil {
		n.t.Fatalf("it printed %q: %v", n.logs(c, id), err)
	}
	return r
}

// A thousand connections, on one node and between two, go on while both sigmads
// are stopped; dials meanwhile end when their callers want; afterwards all is as
// before. When one is killed, the other side's procs see their connections end.
func TestFAULTS_F21_ConnectionsOutliveSigmad(t *testing.T) {
	nodes := StartCluster(t, 2)
	pause := scaled(2500*time.Millisecond, 10*time.Second)
	seconds := int(pause.Seconds()) + 4
	a, b := nodes[0].Client("default"), nodes[1].Client("default")
	server, eps := nodes[0].serving(a, "serve")
	here, there := nodes[0].talking(a, eps[0], 500, seconds), nodes[1].talking(b, eps[0], 500, seconds)
	time.Sleep(time.Second)
	cont := []func(){nodes[0].stopped(t), nodes[1].stopped(t)}
	time.Sleep(pause)
	for _, fn := range cont {
		fn()
	}
	for name, r := range map[string]talked{"same node": nodes[0].talkedOf(a, here), "other node": nodes[1].talkedOf(b, there)} {
		if r.Conns != 500 || r.Wrong != 0 || r.Ended != 0 || r.Trips < int64(500*seconds) {
			t.Errorf("%s: %+v, want 500 connections that talk to the end", name, r)
		}
		if limit := float64(pause.Milliseconds()) * 0.9; r.MaxGap > limit {
			t.Errorf("%s: a connection was silent for %.0f ms while sigmad was stopped for %v", name, r.MaxGap, pause)
		}
		// Dials have 300 ms each.
		if r.Dials == 0 || r.MaxDial > 2000 || r.Refused[api.Deadline] == 0 {
			t.Errorf("%s: %d dials meanwhile, the longest %.0f ms, %v", name, r.Dials, r.MaxDial, r.Refused)
		}
	}
	// New ones are made as before.
	for _, n := range nodes {
		eventually(t, 20*time.Second, "a dial from "+n.Name, func() (bool, string) {
			s := n.epLines("default", "dial", string(eps[0]))
			return s[0].kind == "ok", s[0].text
		})
	}
	if list := nodes[0].endpoints(a); len(list) != 1 || list[0].Proc != server {
		t.Errorf("ep ls: %+v", list)
	}

	there = nodes[1].talking(b, eps[0], 500, 8)
	begin := time.Now()
	nodes[0].Kill()
	r := nodes[1].talkedOf(b, there)
	if r.Ended != 500 || r.Wrong != 0 {
		t.Errorf("after kill -9 of the listener's node: %+v, want the end of all 500", r)
	}
	if took := time.Since(begin); took > 25*time.Second {
		t.Errorf("it took %v", took)
	}
	if r.MaxDial > 2000 {
		t.Errorf("a dial meanwhile took %.0f ms", r.MaxDial)
	}
	nodes[0].Start()
	for _, n := range nodes { // else one could not tell the other that it leaves
		n.awaitMembers(2)
	}
}

// The listener's sigmad hangs: a dial from another node ends by itself, with an
// error that names the node, and nothing stays open on either side.
func TestFAULTS_F22_AHangingSigmadEndsDials(t *testing.T) {
	nodes := StartCluster(t, 2)
	a, b := nodes[0].Client("default"), nodes[1].Client("default")
	_, eps := nodes[0].serving(a, "serve")
	nodes[1].put(b, "eptest")
	nodes[1].ep("default", "dial", string(eps[0])) // the key is there, the slots are
	before := []int{nodes[0].descriptors(), nodes[1].descriptors()}
	cont := nodes[0].stopped(t)
	for _, s := range nodes[1].epLines("default", "dial", string(eps[0]), string(eps[0])) {
		if s.kind != api.Unavailable && s.kind != api.NotFound || s.took > 12*time.Second {
			t.Errorf("while the listener's sigmad hangs: kind %q after %v (%s)", s.kind, s.took, s.text)
		}
	}
	cont()
	eventually(t, 20*time.Second, "a dial after that", func() (bool, string) {
		s := nodes[1].epLines("default", "dial", string(eps[0]))
		return s[0].kind == "ok", s[0].text
	})
	// The dialling sigmad hangs: its proc's own deadline holds.
	id := nodes[1].talking(b, eps[0], 1, 4)
	cont = nodes[1].stopped(t)
	time.Sleep(2 * time.Second)
	cont()
	if r := nodes[1].talkedOf(b, id); r.MaxDial > 1500 || r.Refused[api.Deadline] == 0 || r.Ended != 0 {
		t.Errorf("while the dialler's sigmad hangs: %+v", r)
	}
	for i, n := range nodes {
		n.settles(before[i])
	}
	if list := nodes[0].endpoints(a); len(list) != 1 || list[0].Waiting != 0 {
		t.Errorf("ep ls: %+v, want none that waits", list)
	}
}

// startLimited starts a node whose sigmad has so few descriptors.
func startLimited(t *testing.T, fds int, args ...string) *Node {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "sigma-test")
	if err != nil {
		t.Fatal(err)
	}
	n := tidy(t, newNode(t, dir, args...))
	n.args = append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, fds), n.bin}, n.args...)
	n.bin = "/bin/sh"
	n.Start()
	return n
}

// A realm that hoards connections meets its own limits, of those that wait and
// of those with services; another notices nothing; with the hoarder all goes.
func TestFAULTS_F26_HoardersMeetTheirLimit(t *testing.T) {
	n := startLimited(t, 4200, "--max-procs", "20")
	a, b := n.realm("greedy"), n.Client("default")
	_, eps := n.serving(b, "serve")
	n.ep("default", "dial", string(eps[0]))
	n.ep("greedy", "dial", "x")
	before := n.descriptors()
	d1, deaf := n.serving(a, "keep")
	d2, deaf2 := n.serving(a, "keep")
	hoarders := []api.ProcID{d1, d2} // what waits for them is sigmad's, whoever dialled
	for _, target := range []string{string(deaf[0]), string(deaf2[0]), "@named", "@named"} {
		id := n.Running(a, &api.ProcDesc{Program: "/bin/eptest", Args: []string{"hoard", target, "1000"}, FDs: 2000, Threads: 50})
		hoarders = append(hoarders, id)
		f := strings.Split(n.logs(a, id), "\t")
		if len(f) < 2 || f[1] != string(api.Busy) {
			t.Errorf("a hoarder of %s was told %q, want kind %q", target, f, api.Busy)
		}
	}
	if held := n.descriptors() - before; held < 200 || held > 1500 {
		t.Errorf("the hoarders made sigmad hold %d descriptors", held)
	}
	if r := epReport[struct{ P99, Failed int }](n, "default", "delay", string(eps[0]), "200"); r.Failed != 0 || r.P99 > 1_000_000 {
		t.Errorf("meanwhile another realm dials: %+v", r)
	}
	for _, id := range hoarders {
		n.kill(a, id)
	}
	n.settles(before)
	id := n.Running(a, &api.ProcDesc{Program: "/bin/eptest", Args: []string{"hoard", "@named", "10"}})
	if got := n.logs(a, id); !strings.HasPrefix(got, "\"10\"\tok") {
		t.Errorf("after that the realm's hoarder says %q", got)
	}
}

// sigmad has no descriptor left at all: who asks is told, nobody hangs, what is
// established goes on; with descriptors again, everything works again.
func TestFAULTS_F26_SigmadWithoutDescriptors(t *testing.T) {
	n := StartNode(t, "--gateway", "127.0.0.1:0", "--listen", "127.0.0.1:0")
	c := n.Client("default")
	_, eps := n.serving(c, "serve")
	n.ep("default", "dial", string(eps[0]))
	before := n.descriptors()
	talker := n.talking(c, eps[0], 50, 6)
	var old unix.Rlimit
	if err := unix.Prlimit(n.PID(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	none := old
	none.Cur = 8 // the next that is free is above
	if err := unix.Prlimit(n.PID(), unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	back := func() { unix.Prlimit(n.PID(), unix.RLIMIT_NOFILE, &old, nil) }
	defer back()
	told := 0
	for range 20 {
		begin := time.Now()
		conn, err := c.Dial(minute(t), eps[0])
		if err != nil && api.KindOf(err) != api.Busy || time.Since(begin) > 5*time.Second {
			t.Errorf("a dial: %v after %v, want kind %q", err, time.Since(begin), api.Busy)
		}
		if err == nil {
			conn.Close()
			continue
		}
		told++
	}
	if told < 10 { // sigmad has a few connections in stock
		t.Errorf("%d of 20 dials were refused", told)
	}
	if _, _, err := c.NewEndpoint(minute(t)); api.KindOf(err) != api.Denied {
		t.Errorf("a request that needs none: %v", err)
	}
	usage := cpu(n.PID())
	time.Sleep(time.Second)
	if used := cpu(n.PID()) - usage; used > 500*time.Millisecond {
		t.Errorf("sigmad used %v of CPU in a second: something spins", used)
	}
	back()
	if r := n.talkedOf(c, talker); r.Ended != 0 || r.Wrong != 0 || r.MaxGap > 3000 {
		t.Errorf("what was established: %+v", r)
	}
	eventually(t, 10*time.Second, "a dial after that", func() (bool, string) {
		s := n.epLines("default", "dial", string(eps[0]))
		return s[0].kind == "ok", s[0].text
	})
	if addr := n.forward(t, string(eps[0])); addr == "" {
		t.Error("no forward")
	}
	n.settles(before)
}

// cpu is what a process has used.
func cpu(pid int) time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	var user, sys int64
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &sys)
	return time.Duration(user+sys) * 10 * time.Millisecond
}
