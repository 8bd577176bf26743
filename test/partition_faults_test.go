package test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/bench/lab"
	"sigmaos/sigma"
)

// Etcd's leader has a disk that does 20 writes a second. Everything that writes to
// the record is slow; but no machine is taken for dead, nothing that depends on a
// lease goes, what runs runs on, and best-effort procs start.
func TestFAULTS_F13_TheDiskOfEtcdsLeaderIsSlow(t *testing.T) {
	disks := make([]*lab.Block, 3)
	w := newWorldOn(t, *seed, 3, func(i int, s *lab.Space, dir string) (err error) {
		disks[i], err = s.Block(dir, 768<<20)
		return err
	})
	t.Cleanup(func() { // before the machines end
		for _, d := range disks {
			if d != nil {
				d.Slow(0)
			}
		}
	})
	n1 := w.list[0]
	prog := n1.program("testproc")
	ctx, cancel := context.WithTimeout(context.Background(), scaled(3*time.Minute, 8*time.Minute))
	defer cancel()
	c := n1.Client("default")
	var running []api.ProcID
	for _, m := range w.list {
		for _, class := range []api.Class{api.LC, api.BE} {
			d := &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Class: class, Memory: 16 << 20}
			if class == api.LC {
				d.MCPU = 100
			}
			running = append(running, m.Running(c, d))
		}
	}
	awaitScratch(t, c.Names(), 3) // a link of each node, under its lease
	lease, err := c.Names().NewLease(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Names().PutFile(ctx, "/ephemeral", nil, sigma.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	put := func() time.Duration {
		begin := time.Now()
		if _, err := n1.etcdPut(time.Minute); err != nil {
			return time.Minute
		}
		return time.Since(begin)
	}
	fast := put()

	var leader *machine
	eventually(t, time.Minute, "somebody leads", func() (bool, string) { leader = w.leader(); return leader != nil, "nobody" })
	if err := disks[leader.i].Slow(20); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	var watch sync.WaitGroup
	seen := make([]watched, 3)
	for i, m := range w.list {
		watch.Go(func() { seen[i] = w.watch(m, scaled(20*time.Second, 2*time.Minute)) })
	}
	slow := put() // more than one may be needed to fill what the disk takes at once
	started := 0
	for time.Since(begin) < scaled(20*time.Second, 2*time.Minute) {
		for _, m := range w.list {
			d := m.bound(&api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Memory: 16 << 20})
			id, err := c.Spawn(ctx, d)
			if err != nil {
				t.Fatalf("a spawn while the disk is slow: %v", err)
			}
			if st := n1.Await(c, id); !st.OK() {
				t.Errorf("a proc on %s while the disk is slow: %v", m.name(), st)
			}
			started++
		}
		slow = max(slow, put())
		time.Sleep(100 * time.Millisecond)
	}
	watch.Wait()
	if err := disks[leader.i].Slow(0); err != nil {
		t.Fatal(err)
	}
	t.Logf("a write to the record took %v, and up to %v while the disk of %s was slow; %d procs were started; what was seen: %+v", fast, slow, leader.name(), started, seen)
	if slow < 50*time.Millisecond {
		t.Errorf("at 20 writes a second the slowest write took %v: nothing was tested", slow)
	}
	for i, s := range seen {
		if !slices.Equal(s.members, []int{3}) {
			t.Errorf("%s knew %v machines, one after the other, while all were alive", w.list[i].name(), s.members)
		}
	}
	for _, id := range running {
		if y, err := c.Why(ctx, string(id)); err != nil || y.Proc.State != api.Running {
			t.Errorf("%s is %v, %v; want that it runs on", id.Short(), y.Proc.State, err)
		}
	}
	select {
	case <-lease.Lost():
		t.Error("a lease that was renewed all the time ran out")
	default:
	}
	eventually(t, time.Minute, "writes go on as before", func() (bool, string) {
		d := put()
		return d < time.Second, d.String()
	})
	if _, err := c.Names().Stat(ctx, "/ephemeral"); err != nil {
		t.Errorf("what is under the lease: %v", err)
	}
	awaitScratch(t, c.Names(), 3)
	(&peers{t: t}).voters(n1.Node, 1, 2, 3)
	if err := lease.Close(ctx); err != nil {
		t.Error(err)
	}
}

// scribbled is a write of testproc's scribble.
type scribbled struct {
	number int
	begun  time.Time
	what   string // "ok", or the kind of its error
}

// scribbles are those of a proc so far.
func (n *Node) scribbles(id api.ProcID) (out []scribbled) {
	n.t.Helper()
	var text strings.Builder
	err := n.Client("default").Logs(context.Background(), api.LogQuery{Name: string(id), Stream: 1}, func(_ api.LogRecord, data []byte) error {
		text.Write(data)
		return nil
	})
	if err != nil {
		n.t.Fatalf("logs of %s: %v", id, err)
	}
	for _, line := range strings.Split(text.String(), "\n") {
		var s scribbled
		var ns int64
		if k, _ := fmt.Sscan(line, &s.number, &ns, &s.what); k == 3 {
			s.begun = time.Unix(0, ns)
			out = append(out, s)
		}
	}
	return out
}

// A machine is cut off from the others, both ways, for longer than every lease.
// Who waited across the cut has an error in time; what its procs write to the names
// is refused and is never there; somebody else has the name that one of them held;
// and when the cut heals, there is one holder and nothing of what was given up.
func TestFAULTS_F14_AMachineIsCutOff(t *testing.T) {
	w := newWorld(t, *seed, 3)
	n1, away := w.list[0], w.list[2]
	prog := n1.program("testproc")
	ctx, cancel := context.WithTimeout(context.Background(), scaled(3*time.Minute, 6*time.Minute))
	defer cancel()
	c, there := n1.Client("default"), away.Client("default")
	for _, dir := range []string{"/svc", "/there", "/here"} {
		if err := c.Names().MkdirAll(ctx, dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	lead := func(m *machine, c *Node) api.ProcID {
		return m.Running(c.Client("default"), &api.ProcDesc{Program: prog, Args: []string{"lead", "/svc/one", m.name()}, Class: api.LC, MCPU: 100, Memory: 32 << 20})
	}
	lead(away, away.Node) // at home there: nobody gives it up
	eventually(t, 30*time.Second, "the first has the name", func() (bool, string) {
		b, _, err := c.Names().GetFile(ctx, "/svc/one")
		return err == nil && string(b) == away.name(), fmt.Sprintf("%q, %v", b, err)
	})
	lead(n1, n1.Node) // waits for its turn
	writesThere := away.Running(there, &api.ProcDesc{Program: prog, Args: []string{"scribble", "/there"}, Memory: 32 << 20})
	writesHere := n1.Running(c, &api.ProcDesc{Program: prog, Args: []string{"scribble", "/here"}, Memory: 32 << 20})
	mark := &crowd{t: t, mark: fmt.Sprintf("f14-%d", os.Getpid())}
	var e, f ends
	const each = 5
	for i := range 2 * each { // across the cut, both ways
		d := &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Memory: 16 << 20, Env: []string{fmt.Sprintf("MARK=%s-%d-", mark.mark, i)}}
		if i < each {
			e.wait(ctx, c, away.Running(c, d))
		} else {
			f.wait(ctx, there, n1.Running(there, d))
		}
	}
	time.Sleep(time.Second)

	way := lab.Way{Cut: true}
	for _, o := range w.list[:2] {
		w.net.Set(lab.Member(away.i), lab.Member(o.i), way)
		w.net.Set(lab.Member(o.i), lab.Member(away.i), way)
	}
	cut := time.Now()
	e.answered(t, each)
	f.answered(t, each)
	if a, b := e.lost(t, cut), f.lost(t, cut); a != each || b != each {
		t.Errorf("%d and %d of %d each are lost: %v, %v", a, b, each, e.st, f.st)
	}
	eventually(t, noticed, "what was given up is ended on both sides", func() (bool, string) {
		left := mark.processes()
		return len(left) == 0, fmt.Sprint(left)
	})
	eventually(t, 30*time.Second, "the name has another holder", func() (bool, string) {
		b, _, err := c.Names().GetFile(ctx, "/svc/one")
		return err == nil && string(b) == n1.name(), fmt.Sprintf("%q, %v", b, err)
	})
	time.Sleep(time.Until(cut.Add(scaled(20*time.Second, time.Minute))))
	before := time.Now()
	w.net.Heal()
	for _, m := range w.list {
		m.awaitMembers(3)
	}
	eventually(t, time.Minute, "procs there write again", func() (bool, string) {
		list := away.scribbles(writesThere)
		return list[len(list)-1].what == "ok", fmt.Sprint(list[len(list)-1])
	})

	// Writes are there if they were acknowledged, and not if they were refused.
	const leases = 10 * time.Second // of whoever led the names when it was cut off
	check := func(dir string, list []scribbled) (acked, refused int) {
		t.Helper()
		exists := make(map[string]bool)
		for after := ""; ; {
			page, err := c.Names().ReadDir(ctx, dir, after, 500)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range page {
				exists[i.Name()] = true
				after = i.Name()
			}
			if len(page) == 0 {
				break
			}
		}
		for _, s := range list {
			there := exists[fmt.Sprint(s.number)]
			during := s.begun.After(cut.Add(leases)) && s.begun.Before(before.Add(-2*time.Second))
			switch {
			case s.what == "ok" && !there:
				t.Errorf("%s/%d was acknowledged and is not there", dir, s.number)
			// One without an answer may still be on its way when the cut ends.
			case dir == "/there" && during && (s.what == "ok" || there && s.what != string(api.Deadline)):
				t.Errorf("%s/%d, written by the side that was cut off: %s; it is there: %v", dir, s.number, s.what, there)
			case s.what == "ok":
				acked++
			case during:
				refused++
			}
		}
		return acked, refused
	}
	acked, refused := check("/there", away.scribbles(writesThere))
	others, _ := check("/here", n1.scribbles(writesHere))
	if acked == 0 || refused == 0 || others == 0 {
		t.Errorf("%d writes acknowledged and %d refused there, %d acknowledged here: nothing was tested", acked, refused, others)
	}
	t.Logf("there %d acknowledged and %d refused during the cut, here %d acknowledged", acked, refused, others)

	// One holder at a time, of one epoch each.
	if b, _, err := c.Names().GetFile(ctx, "/svc/one"); err != nil || string(b) != n1.name() {
		t.Errorf("after it healed the name is %q's, %v; it had been %s's", b, err, n1.name())
	}
	log, _, err := c.Names().GetFile(ctx, "/svc/one.log")
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	holders := make(map[uint64]string)
	for _, line := range strings.Split(strings.TrimSpace(string(log)), "\n") {
		var epoch uint64
		var who string
		fmt.Sscan(line, &epoch, &who)
		if epoch < last || holders[epoch] != "" && holders[epoch] != who {
			t.Errorf("%s wrote in epoch %d after epoch %d, which is %s's: two hold one name", who, epoch, last, holders[epoch])
		}
		last, holders[epoch] = epoch, who
	}
	if len(holders) < 2 {
		t.Errorf("the name had the holders %v, want two one after the other", holders)
	}
	if top := away.top(there); top.MemBE > 32<<20 {
		t.Errorf("the machine that was cut off still runs what was given up: %+v", top)
	}
	for _, m := range w.list {
		for _, p := range list(t, m.Client("default")) {
			if p.Args[0] == "sleep" {
				t.Errorf("%s, which was given up, is %v on %s, as %s sees it", p.ID, p.State, p.Node, m.name())
			}
		}
	}
}
