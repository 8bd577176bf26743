package test

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// service is a latency-critical service of two replicas on a cluster, whose owner
// is the test, and its clients, one at each node.
type service struct {
	t        *testing.T
	nodes    []*Node
	replicas []*replica
	made     int
	clients  []*caller
	stop     chan struct{}
	wg       sync.WaitGroup
}

// replica is one server; its home is where its owner spawned it.
type replica struct {
	id       api.ProcID
	home, at *Node
}

// caller asks the service all the time, by its node.
type caller struct {
	n      *Node
	served atomic.Int64 // requests
	missed atomic.Int64 // dials without a welcome
	why    atomic.Value // the error of the last one
}

func (c *caller) miss(err error) {
	c.why.Store(err.Error())
	c.missed.Add(1)
}

// start spawns a replica at home and waits until it serves.
func (s *service) start(home *Node) {
	s.t.Helper()
	s.made++
	c := home.Client("default")
	ctx := minute(s.t)
	id, err := c.Spawn(ctx, &api.ProcDesc{Program: "/bin/testproc", Args: []string{"serve", fmt.Sprintf("/svc/app/%d", s.made)},
		Class: api.LC, MCPU: 50, Memory: 32 << 20, Group: "app"})
	if err == nil {
		err = c.WaitStart(ctx, id)
	}
	if err != nil {
		s.t.Fatalf("a replica from %s: %v", home.Name, err)
	}
	r := &replica{id: id, home: home}
	w, err := c.Why(ctx, string(id))
	for _, n := range s.nodes {
		if n.flag("--node") == w.Proc.Node {
			r.at = n
		}
	}
	if err != nil || r.at == nil {
		s.t.Fatalf("a replica runs on %q: %v", w.Proc.Node, err)
	}
	s.replicas = append(s.replicas, r)
}

// replace starts a successor of each of those first, then has them end.
func (s *service) replace(old func(*replica) bool, home *Node) {
	s.t.Helper()
	var keep, leave []*replica
	for _, r := range s.replicas {
		if old(r) {
			leave = append(leave, r)
		} else {
			keep = append(keep, r)
		}
	}
	s.replicas = keep
	for _, r := range leave {
		s.start(home)
		if err := r.home.Client("default").Kill(minute(s.t), r.id, 30*time.Second); err != nil {
			s.t.Errorf("asking a replica to end: %v", err)
		}
		s.ended(r)
	}
}

// ended waits for a replica that was asked to end: it does so by itself.
func (s *service) ended(r *replica) {
	s.t.Helper()
	if st := r.home.Await(r.home.Client("default"), r.id); !st.OK() {
		s.t.Errorf("a replica that was asked to end: %+v", st)
	}
}

// call is a client's life. A dial may fail; who was welcomed is answered.
func (s *service) call(c *caller) {
	for {
		select {
		case <-s.stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		s.once(c)
	}
}

func (s *service) once(c *caller) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	a, err := admin.Connect(ctx, admin.Options{Context: c.n.socket(), Realm: "default"})
	if err != nil {
		return // the node is the one that is being replaced
	}
	conn, err := a.DialPath(ctx, "/svc/app/~any")
	a.Close() // the connection is ours alone
	if err != nil {
		c.miss(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(conn)
	if _, err := lines.ReadString('\n'); err != nil {
		c.miss(err)
		return
	}
	for i := range 5 {
		want := fmt.Sprintf("request %d.%d\n", c.served.Load(), i)
		_, err := conn.Write([]byte(want))
		got := ""
		if err == nil {
			got, err = lines.ReadString('\n')
		}
		if err != nil || got != want {
			s.t.Errorf("a request through %s fails: %q, %v", c.n.Name, got, err)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.served.Add(1)
}

// Nodes are drained, stopped and started again, one after the other, under a
// service. Every request whose dial succeeded is answered. Of the dials of a client one
// may fail for each node that is replaced, and for the service, and one in fifty more.
func TestFAULTS_F38_NodesAreReplacedOneAfterTheOther(t *testing.T) {
	p := startPeers(t, 3)
	p.voters(p.list[0], 1, 2, 3)
	s := &service{t: t, nodes: p.list, stop: make(chan struct{})}
	if err := s.nodes[0].Client("default").Names().MkdirAll(minute(t), "/svc/app", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.nodes {
		n.program("testproc")
	}
	s.start(s.nodes[0])
	s.start(s.nodes[1])
	for _, n := range s.nodes {
		c := &caller{n: n}
		s.clients = append(s.clients, c)
		s.wg.Go(func() { s.call(c) })
	}
	defer s.wg.Wait()
	defer close(s.stop)
	s.allServed()
	replaced := 1 // the service, at the end
	for round := range scaled(1, 5) {
		for k, n := range s.nodes {
			t.Logf("round %d: %s", round, n.flag("--node"))
			s.upgrade(n, s.nodes[(k+1)%len(s.nodes)])
			replaced++
			s.allServed()
		}
	}
	s.replace(func(*replica) bool { return true }, s.nodes[0]) // and the service itself
	s.allServed()
	for _, c := range s.clients {
		served, missed := c.served.Load(), c.missed.Load()
		t.Logf("%s: %d requests, %d dials failed", c.n.flag("--node"), served, missed)
		if may := int64(replaced) + served/50; missed > may {
			t.Errorf("%s: %d dials failed beside %d requests, at most %d may; the last: %v", c.n.flag("--node"), missed, served, may, c.why.Load())
		}
	}
	for _, r := range s.replicas {
		if err := r.home.Client("default").Kill(minute(t), r.id, 30*time.Second); err != nil {
			t.Error(err)
		}
		s.ended(r)
	}
}

// upgrade empties a node, stops it and starts it again; home is another one.
func (s *service) upgrade(n, home *Node) {
	s.t.Helper()
	// What was spawned there would be lost with it.
	s.replace(func(r *replica) bool { return r.home == n }, home)
	var empty sync.WaitGroup
	empty.Go(func() {
		if _, e, code := home.Ctl("node", "drain", n.flag("--node"), "--grace", "30s"); code != 0 {
			s.t.Errorf("drain: %s", e)
		}
	})
	for _, r := range slices.Clone(s.replicas) {
		if r.at == n { // the drain asks it to end
			s.ended(r)
			s.replicas = slices.DeleteFunc(s.replicas, func(o *replica) bool { return o == r })
			s.start(home)
		}
	}
	empty.Wait()
	n.Stop()
	n.Start()
	for _, m := range s.nodes {
		m.awaitMembers(len(s.nodes))
	}
	eventually(s.t, time.Minute, "etcd's peer on it has caught up", func() (bool, string) {
		_, err := n.etcdPut(5 * time.Second)
		return err == nil, fmt.Sprint(err)
	})
}

// allServed waits until every client has had ten requests more.
func (s *service) allServed() {
	s.t.Helper()
	for _, c := range s.clients {
		from := c.served.Load()
		eventually(s.t, time.Minute, "requests through "+c.n.Name, func() (bool, string) {
			return c.served.Load() >= from+10, fmt.Sprintf("%d served, %d dials failed, the last: %v", c.served.Load()-from, c.missed.Load(), c.why.Load())
		})
	}
}
