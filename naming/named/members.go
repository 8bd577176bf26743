package named

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Member is one of etcd's peers, as etcd lists it.
type Member struct {
	ID      uint64
	Node    string
	Voter   bool
	Started bool // it has been there at least once
}

// memberTime bounds one change of the members.
const memberTime = 10 * time.Second

// Members lists the peers, as more than half of them agree.
func Members(ctx context.Context, c *clientv3.Client) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	r, err := c.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	var out []Member
	for _, m := range r.Members {
		out = append(out, memberOf(m.ID, m.Name, m.PeerURLs, m.IsLearner))
	}
	return out, nil
}

// memberOf is a peer by the node in its address: etcd knows the name of one that
// has started.
func memberOf(id uint64, name string, urls []string, learner bool) Member {
	m := Member{ID: id, Node: name, Voter: !learner, Started: name != ""}
	for _, u := range urls {
		if n, ok := nodeOf(u); ok {
			m.Node = n
		}
	}
	return m
}

// Leader is the id of the peer that leads, 0 while none does, as some peer knows.
func Leader(ctx context.Context, c *clientv3.Client) uint64 {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	r, err := c.Status(ctx, "")
	if err != nil {
		return 0
	}
	return r.Leader
}

// AddLearner adds a node's peer, which follows and has no vote.
func AddLearner(ctx context.Context, c *clientv3.Client, node string) error {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	_, err := c.MemberAddAsLearner(ctx, []string{peerURL(node)})
	return err
}

// Promote gives a learner its vote; etcd refuses it when it lags.
func Promote(ctx context.Context, c *clientv3.Client, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	_, err := c.MemberPromote(ctx, id)
	return err
}

// RemoveMember takes a peer out for good.
func RemoveMember(ctx context.Context, c *clientv3.Client, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	_, err := c.MemberRemove(ctx, id)
	return err
}

// PeerState is what a peer says of itself.
type PeerState struct {
	ID      uint64 `json:"id"`
	Voter   bool   `json:"voter"`
	Leader  uint64 `json:"leader"` // as it knows; 0 is none
	Applied uint64 `json:"applied"`
	Commit  uint64 `json:"commit"`
}

// State of this moment.
func (p *Peer) State() PeerState {
	s := p.etcd.Server
	return PeerState{ID: uint64(s.MemberID()), Voter: !s.IsLearner(), Leader: uint64(s.Leader()), Applied: s.AppliedIndex(), Commit: s.CommittedIndex()}
}

// Leads reports whether this peer leads the others.
func (p *Peer) Leads() bool {
	s := p.State()
	return s.Leader == s.ID && s.Voter
}

// Useful reports whether clients may count on this peer: it has a vote and knows
// who leads.
func (p *Peer) Useful() bool {
	s := p.State()
	return s.Voter && s.Leader != 0
}

// Announce makes the others know this peer by its node's name; peers of earlier
// versions and of restored backups are known by something else.
func (p *Peer) Announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	want := peerURL(p.cfg.Name)
	for _, m := range p.etcd.Server.Cluster().Members() {
		if m.ID == p.etcd.Server.MemberID() && (len(m.PeerURLs) != 1 || m.PeerURLs[0] != want) {
			_, err := p.client.MemberUpdate(ctx, uint64(m.ID), []string{want})
			return err
		}
	}
	return nil
}

// Known lists the peers as this one knows them, without asking the others.
func (p *Peer) Known() []Member {
	var out []Member
	for _, m := range p.etcd.Server.Cluster().Members() {
		out = append(out, memberOf(uint64(m.ID), m.Name, m.PeerURLs, m.IsLearner))
	}
	return out
}
