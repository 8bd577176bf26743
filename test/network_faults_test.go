package test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/bench/lab"
)

// workWhile has the clients of all machines work while fn breaks the network; then
// everything must go on, every wait have ended, and what they saw be in order.
func (w *world) workWhile(fn func()) {
	w.t.Helper()
	h := w.begin()
	w.progress(scaled(60*time.Second, 2*time.Minute))
	fn()
	w.net.Heal()
	w.progress(scaled(60*time.Second, 2*time.Minute))
	if !w.quit() {
		w.t.Fatalf("clients do not end: a wait hangs\n%s", strings.Join(w.found, "\n"))
	}
	w.settled()
	h.check(w.t)
	for _, v := range w.found {
		w.t.Error(v)
	}
	w.t.Logf("work %v, failures %v", w.work, w.failures)
}

// watched is what one machine saw of the cluster, over time.
type watched struct {
	leaders []string // of etcd, each time it was another
	members []int    // machines that it knows, each time it was another number
}

func (w *world) leaderAndMembers(m *machine) (leader string, members int) {
	list, err := m.etcdPeers()
	if err != nil {
		return "", 0
	}
	for _, p := range list {
		if p.Leader {
			leader = p.Node
		}
	}
	c, err := m.connect("-")
	if err != nil {
		return leader, 0
	}
	defer c.Close()
	var nodes []api.NodeInfo
	if err := c.Call(w.soon(), api.MNodes, nil, &nodes); err != nil {
		return leader, 0
	}
	return leader, len(nodes)
}

// watch looks at the cluster from a machine for a while; no answer is no news.
func (w *world) watch(m *machine, d time.Duration) (s watched) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		leader, members := w.leaderAndMembers(m)
		if leader != "" && (len(s.leaders) == 0 || s.leaders[len(s.leaders)-1] != leader) {
			s.leaders = append(s.leaders, leader)
		}
		if members != 0 && (len(s.members) == 0 || s.members[len(s.members)-1] != members) {
			s.members = append(s.members, members)
		}
	}
	return s
}

// A pair of machines cannot reach each other, or one cannot reach one other, while
// all else is well. The leader that all had may be lost once, where it is concerned
// itself; but nobody takes turns at leading, and no machine comes and goes in the
// eyes of one that is not concerned.
func TestFAULTS_F15_PartOfTheNetworkIsCut(t *testing.T) {
	w := newWorld(t, *seed, 3)
	leads := func() *machine {
		var l *machine
		eventually(t, time.Minute, "somebody leads", func() (bool, string) { l = w.leader(); return l != nil, "nobody" })
		return l
	}
	w.workWhile(func() {
		for _, c := range []struct {
			name string
			cut  func(l, a, b int) [][2]int
		}{
			{"two that do not lead are apart", func(_, a, b int) [][2]int { return [][2]int{{a, b}, {b, a}} }},
			{"one does not hear another that does not lead", func(_, a, b int) [][2]int { return [][2]int{{a, b}} }},
			{"one does not hear the leader", func(l, a, _ int) [][2]int { return [][2]int{{l, a}} }},
			{"the leader does not hear one", func(l, a, _ int) [][2]int { return [][2]int{{a, l}} }},
		} {
			l := leads()
			a, b := (l.i+1)%3, (l.i+2)%3
			for _, p := range c.cut(l.i, a, b) {
				w.net.Set(lab.Member(p[0]), lab.Member(p[1]), lab.Way{Cut: true})
			}
			// b hears everybody, or, where it does not, l does.
			unconcerned := w.list[b]
			if !strings.Contains(c.name, "leader") {
				unconcerned = l
			}
			s := w.watch(unconcerned, scaled(5*time.Second, 45*time.Second))
			w.net.Heal()
			t.Logf("%s: %+v", c.name, s)
			if len(s.leaders) > 2 || len(s.leaders) == 0 {
				t.Errorf("%s: leaders one after the other %v; want one, or a second", c.name, s.leaders)
			}
			if len(s.members) > 3 || len(s.members) == 0 {
				t.Errorf("%s: a machine that is not concerned knew %v machines, one after the other; want no coming and going", c.name, s.members)
			}
			for _, m := range w.list {
				m.awaitMembers(3)
			}
		}
	})
}

// Packets are lost on all ways, as many as a fifth, and then every connection
// of every machine is reset, again and again.
func TestFAULTS_F16_LossAndStormsOfResets(t *testing.T) {
	w := newWorld(t, *seed, 3)
	w.workWhile(func() {
		for _, loss := range []float64{0.05, 0.2} {
			for _, a := range w.list {
				for _, b := range w.list {
					if a != b {
						w.net.Set(lab.Member(a.i), lab.Member(b.i), lab.Way{Loss: loss})
					}
				}
			}
			w.sleep(scaled(5*time.Second, 30*time.Second))
		}
		w.net.Heal()
		reset, err := 0, error(nil)
		for end := time.Now().Add(scaled(5*time.Second, 30*time.Second)); time.Now().Before(end) && err == nil; w.sleep(100 * time.Millisecond) {
			for _, m := range w.list {
				var n int
				if n, err = m.resetAll(); err != nil {
					break
				}
				reset += n
			}
		}
		if err != nil {
			t.Logf("this kernel cannot reset connections (%v): they were not", err)
		} else if reset == 0 {
			t.Error("no connection was reset")
		}
		t.Logf("%d connections reset", reset)
	})
}

// resetAll resets every connection that goes over the switch from the machine.
func (m *machine) resetAll() (n int, err error) {
	return n, m.in.Do(func() error {
		all, err := netlink.SocketDiagTCP(unix.AF_INET)
		if err != nil {
			return err
		}
		for _, s := range all {
			const established = 1
			if s.State != established || !strings.HasPrefix(s.ID.Destination.String(), "198.18.") {
				continue
			}
			switch err := reset(s.ID); err {
			case nil:
				n++
			case unix.ENOENT, unix.ESTALE: // it has ended meanwhile
			default:
				return fmt.Errorf("resetting %v to %v: %w", s.ID.Source, s.ID.Destination, err)
			}
		}
		return nil
	})
}

// reset has the kernel abort a TCP connection. The cookie makes it that one: by its
// addresses alone, one that has just ended is taken for the listener that it came
// from.
func reset(id netlink.SocketID) error {
	var b [56]byte // struct inet_diag_req_v2
	b[0], b[1] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(b[8:], id.SourcePort)
	binary.BigEndian.PutUint16(b[10:], id.DestinationPort)
	copy(b[12:], id.Source.To4())
	copy(b[28:], id.Destination.To4())
	binary.NativeEndian.PutUint32(b[44:], id.Interface)
	binary.NativeEndian.PutUint32(b[48:], id.Cookie[0])
	binary.NativeEndian.PutUint32(b[52:], id.Cookie[1])
	req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	req.AddRawData(b[:])
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}
