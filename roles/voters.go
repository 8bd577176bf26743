package roles

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/named"
	"sigmaos/net/gossip"
	"sigmaos/net/pki"
	"sigmaos/net/port"
	"sigmaos/net/rpc"
	"sigmaos/sched/voters"
)

// What the leading peer's node asks the others.
const (
	methodPeerState = "etcd.state"
	methodPeerHost  = "etcd.host"
)

const (
	votersTick  = 500 * time.Millisecond
	dropLearner = time.Minute     // a learner away for so long is forgotten
	leaderless  = 3 * time.Second // a peer that knows no leader serves no clients after that
	nearEnough  = 500             // entries that a learner may lack to get its vote
	askPeerTime = 3 * time.Second
)

// peerHost is the request of methodPeerHost: the members, the node included.
type peerHost struct {
	Members []string `json:"members"`
}

// peerAnswer is that of methodPeerState.
type peerAnswer struct {
	Hosted bool            `json:"hosted"`
	State  named.PeerState `json:"state"`
}

// startVoters looks after this node's etcd peer, and after all peers while this
// node's leads them.
func startVoters(_ context.Context, s *System) (func(context.Context) error, error) {
	if s.Port == nil {
		return func(context.Context) error { return nil }, nil
	}
	ctx, stop := context.WithCancel(context.Background())
	v := &voterLoop{System: s, seen: make(map[string]time.Time)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.run(ctx)
	}()
	return func(context.Context) error { stop(); <-done; return nil }, nil
}

// voterLoop is of one goroutine.
type voterLoop struct {
	*System
	seen   map[string]time.Time // members' nodes; while this node's peer leads
	serve  func()               // ends the service to clients
	leader time.Time            // last known
}

func (v *voterLoop) run(ctx context.Context) {
	tick := time.NewTicker(votersTick)
	defer tick.Stop()
	defer v.serveClients(false)
	for {
		for v.once(ctx) && ctx.Err() == nil { // changes that belong together go back to back
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// once does what is due, and reports whether there may be more.
func (v *voterLoop) once(ctx context.Context) bool {
	p := v.hosting.Load()
	if p == nil {
		v.serveClients(false)
		return false
	}
	select {
	case <-p.Gone():
		v.serveClients(false)
		v.Log.Warn("the other etcd peers have removed this node's")
		v.dropPeer()
		if err := v.putPeerAside(); err != nil {
			v.Log.Error("the removed etcd peer's directory", "err", err)
		}
		return false
	default:
	}
	if p.State().Leader != 0 {
		v.leader = time.Now()
	}
	v.serveClients(p.State().Voter && time.Since(v.leader) < leaderless)
	if !p.Leads() {
		clear(v.seen)
		return false
	}
	changed, err := v.change(ctx, p)
	if err != nil && ctx.Err() == nil {
		v.Log.Warn("etcd's peers", "err", err)
	}
	return changed && err == nil
}

// serveClients lets other nodes use this node's peer, or no longer. Who uses a
// peer that has lost the others is cut off, so that it finds a better one.
func (v *voterLoop) serveClients(on bool) {
	if on == (v.serve != nil) {
		return
	}
	if !on {
		v.serve()
		v.serve = nil
		return
	}
	useful, end := context.WithCancel(context.Background())
	stop, err := v.Port.Handle(etcdALPN, func(ctx context.Context, c *port.Conn) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(useful, cancel)()
		if err := named.ServeClient(ctx, c, v.Config.RunDir); err != nil {
			v.Log.Debug("etcd's client", "of", c.Peer().Name, "err", err)
		}
	})
	if err != nil {
		end()
		v.Log.Error("etcd's clients", "err", err)
		return
	}
	v.serve = func() { stop(); end(); v.useless.cut() }
}

// change makes the next change of the members, if one is due.
func (v *voterLoop) change(ctx context.Context, p *named.Peer) (bool, error) {
	var list []voters.Peer
	members, alive := p.Known(), v.alive()
	if len(members) == 1 && len(alive) < 3 {
		return false, nil
	}
	for _, m := range members {
		list = append(list, v.seePeer(ctx, p, m, alive))
	}
	var candidates []string
	for _, m := range alive {
		if offers(m.Roles, "named") && !m.Leaving {
			candidates = append(candidates, m.Name)
		}
	}
	a := voters.Next(list, candidates, voters.Config{Replace: v.Config.Replace(), Drop: min(dropLearner, v.Config.Replace())})
	if a.Kind == voters.Nothing {
		return false, nil
	}
	v.Log.Info("etcd's peers", "change", a.Kind.String(), "node", a.Node, "why", a.Why)
	var err error
	switch a.Kind {
	case voters.Add:
		err = named.AddLearner(ctx, p.Client(), a.Node)
	case voters.Start:
		err = v.startPeerOn(ctx, alive[a.Node], members)
	case voters.Promote:
		err = named.Promote(ctx, p.Client(), a.ID)
	case voters.Remove:
		err = named.RemoveMember(ctx, p.Client(), a.ID)
	}
	if err != nil {
		return false, fmt.Errorf("%v %s: %w", a.Kind, a.Node, err)
	}
	return true, nil
}

func (v *voterLoop) alive() map[string]gossip.Member {
	out := make(map[string]gossip.Member)
	for _, m := range v.Gossip.Members() {
		out[m.Name] = m
	}
	return out
}

// seePeer is a member as the policy wants it.
func (v *voterLoop) seePeer(ctx context.Context, p *named.Peer, m named.Member, alive map[string]gossip.Member) voters.Peer {
	out := voters.Peer{ID: m.ID, Node: m.Node, Voter: m.Voter}
	node, here := alive[m.Node]
	last, ok := v.seen[m.Node]
	if here || !ok {
		last = time.Now()
		v.seen[m.Node] = last
	}
	if !here {
		out.Absent = max(time.Since(last), 1)
		out.Removed = v.removed.named(m.Node)
		return out
	}
	if !m.Voter {
		a, err := v.askPeer(ctx, node.Number)
		out.Running = err == nil && a.Hosted && a.State.ID == m.ID
		out.CaughtUp = out.Running && a.State.Applied+nearEnough >= p.State().Commit
	}
	return out
}

func (v *voterLoop) askPeer(ctx context.Context, node uint16) (a peerAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, askPeerTime)
	defer cancel()
	b, err := (others{v.System}).Call(ctx, node, methodPeerState, nil)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	return a, err
}

// startPeerOn has another node start its peer as one of members.
func (v *voterLoop) startPeerOn(ctx context.Context, m gossip.Member, members []named.Member) error {
	var h peerHost
	for _, x := range members {
		h.Members = append(h.Members, x.Node)
	}
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hostTime)
	defer cancel()
	_, err = (others{v.System}).Call(ctx, m.Number, methodPeerHost, b)
	return err
}

// hostTime bounds the first start of a peer among others.
const hostTime = 30 * time.Second

// servePeers answers the leading peer's node.
func (s *System) servePeers(server *rpc.Server) {
	server.Handle(methodPeerState, func(context.Context, *rpc.Request) ([]byte, error) {
		var a peerAnswer
		if p := s.hosting.Load(); p != nil {
			a = peerAnswer{Hosted: true, State: p.State()}
		}
		return json.Marshal(a)
	})
	var one sync.Mutex
	server.Handle(methodPeerHost, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
		var h peerHost
		if err := json.Unmarshal(r.Body, &h); err != nil || !slices.Contains(h.Members, s.Config.Node) || len(h.Members) > 16 {
			return nil, api.E(api.Invalid, "etcd host", s.Config.Node, "%v, members %q", err, h.Members)
		}
		if !s.offersNamed() {
			return nil, api.E(api.Unsupported, "etcd host", s.Config.Node, "the node does not offer the role named")
		}
		one.Lock()
		defer one.Unlock()
		if s.hosting.Load() != nil {
			return nil, nil
		}
		// What a first start left that broke off before anybody counted on it.
		if named.HasPeer(s.etcdDir()) {
			if err := s.putPeerAside(); err != nil {
				return nil, err
			}
		}
		s.Log.Info("this node hosts an etcd peer from now on", "asked by", r.Peer.(pki.Peer).Name)
		return nil, s.hostPeer(ctx, named.PeerConfig{Members: h.Members, Existing: true})
	})
}

// etcdPeers lists the peers.
func (s *System) etcdPeers(ctx context.Context) ([]api.EtcdPeer, error) {
	members, err := named.Members(ctx, s.etcd)
	if err != nil {
		return nil, api.E(api.Unavailable, "etcd peers", "", "%v (more than half of the peers must be there)", err)
	}
	leader := s.etcdLeader(ctx)
	out := []api.EtcdPeer{}
	for _, m := range members {
		_, err := s.numberOf(m.Node)
		out = append(out, api.EtcdPeer{Node: m.Node, ID: strconv.FormatUint(m.ID, 16), Voter: m.Voter, Leader: m.ID == leader, Alive: err == nil})
	}
	return out, nil
}

func (s *System) etcdLeader(ctx context.Context) uint64 {
	if p := s.hosting.Load(); p != nil {
		return p.State().Leader
	}
	return named.Leader(ctx, s.etcd)
}

// openConns are this node's own connections with its peer.
type openConns struct {
	mu   sync.Mutex
	list map[net.Conn]struct{}
}

// untilUseless is c, which is closed when the peer is of no use any more.
func (s *System) untilUseless(c net.Conn) net.Conn {
	s.useless.mu.Lock()
	defer s.useless.mu.Unlock()
	if s.useless.list == nil {
		s.useless.list = make(map[net.Conn]struct{})
	}
	u := &usefulConn{Conn: c, of: &s.useless}
	s.useless.list[u] = struct{}{}
	return u
}

type usefulConn struct {
	net.Conn
	of *openConns
}

func (u *usefulConn) Close() error {
	u.of.mu.Lock()
	delete(u.of.list, u)
	u.of.mu.Unlock()
	return u.Conn.Close()
}

func (o *openConns) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.list {
		c.(*usefulConn).Conn.Close()
	}
	clear(o.list)
}
