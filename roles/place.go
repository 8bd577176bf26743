package roles

import (
	"context"
	"io"
	"time"

	"sigmaos/naming/named"
	"sigmaos/net/gossip"
	"sigmaos/net/pki"
	"sigmaos/net/rpc"
	"sigmaos/net/talk"
	"sigmaos/roles/place"
	"sigmaos/roles/schedd"
	"sigmaos/runtime/cgroup"
	"sigmaos/sched/node"
)

// methodTalk is a call of net/talk.
const methodTalk = "talk"

const (
	// lcPatience is how long gossip must have this node for lcsched before it claims
	// an epoch: one that has just started knows nobody else.
	lcPatience = 500 * time.Millisecond
	claimTime  = 5 * time.Second // for etcd to answer
	flushTime  = time.Second     // for the last messages of a node that stops
	maxCalls   = 1 << 18         // of one node to another: each wait for a proc is one
)

// offered is the start of a role that is a part of the node's own (roles/place):
// whether it is asked to do it, follows from what the nodes offer.
func offered(context.Context, *System) (func(context.Context) error, error) {
	return func(context.Context) error { return nil }, nil
}

// placement configures this node's part in placing procs.
func (s *System) placement(tree *cgroup.Tree) place.Config {
	c := place.Config{
		Self: talk.Peer{Number: s.nodeNum, Boot: s.boot}, Table: node.New(s.Config.MCPU, s.Config.Memory), Queued: maxQueued,
		Send: func(uint16, any) {}, Watch: func(uint16) {}, // nobody is there
		Claim: func(ctx context.Context) (uint64, error) {
			ctx, cancel := context.WithTimeout(ctx, claimTime)
			defer cancel()
			return named.Epoch(ctx, s.etcd, "lcsched", s.Config.Node)
		},
		Used: tree.ProcsCPU, Logger: s.Log.With("role", "place"), Seed: uint64(time.Now().UnixNano()),
	}
	if t := s.talk; t != nil {
		c.Send, c.Watch, c.Patience = t.Send, t.Watch, lcPatience
		c.Serving = func(serves bool) {
			err := s.Gossip.Update(func(i *gossip.Info) {
				i.Shards = nil
				if serves {
					i.Shards = []uint16{s.nodeNum}
				}
			})
			if err != nil {
				s.Log.Warn("telling of a shard", "err", err)
			}
		}
	}
	return c
}

// startTalk begins the conversations with the other nodes. They are served when the
// schedd is there.
func (s *System) startTalk(undo *undoStack) {
	if s.Gossip == nil {
		return
	}
	s.talk = talk.New(talk.Config{
		Self: talk.Peer{Number: s.nodeNum, Boot: s.boot},
		Call: func(ctx context.Context, node uint16, req []byte) ([]byte, error) {
			return others{s}.Call(ctx, node, methodTalk, req)
		},
		Encode: place.Encode, Decode: place.Decode,
		Receive: func(from talk.Peer, messages []any) { s.running.Load().Placer().Receive(from, messages) },
		Over: func(p talk.Peer, _ bool, undelivered []any) {
			if d := s.running.Load(); d != nil {
				d.Placer().Over(p, undelivered)
			}
		},
		Logger: s.Log.With("role", "talk"),
	})
	undo.add(func() error {
		s.talk.Flush(flushTime)
		return s.talk.Close()
	})
}

// servePlacement answers other nodes' talk and questions about procs.
func (s *System) servePlacement(server *rpc.Server) {
	server.Handle(methodTalk, func(_ context.Context, r *rpc.Request) ([]byte, error) {
		if s.running.Load() == nil {
			return nil, s.starting()
		}
		return s.talk.Serve(r.Peer.(pki.Peer).Number, r.Body)
	})
	for _, m := range []string{schedd.PeerWait, schedd.PeerKill, schedd.PeerFind, schedd.PeerList, schedd.PeerWhy, schedd.PeerDump, schedd.PeerRoom, schedd.PeerMissing, schedd.PeerShare} {
		server.Handle(m, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
			d := s.running.Load()
			if d == nil {
				return nil, s.starting()
			}
			return d.Peer(ctx, r.Method, r.Body)
		})
	}
	server.HandleStream(schedd.PeerLogs, func(ctx context.Context, st *rpc.Stream) error {
		d := s.running.Load()
		if d == nil {
			return s.starting()
		}
		ask, err := st.Recv()
		if err != nil {
			return err
		}
		return d.PeerStream(ctx, ask, func(m []byte) error { return st.SendContext(ctx, m) })
	})
}

// followMembers tells the placement who is there.
func (s *System) followMembers(undo *undoStack) {
	s.seeMembers(s.Schedd)
	if s.Gossip == nil {
		return
	}
	stop := s.Gossip.Subscribe(func(e gossip.Event) {
		s.seeMembers(s.Schedd)
		if e.Type == gossip.Left && e.Member.Number != s.nodeNum {
			s.talk.Left(e.Member.Number)
		}
	})
	undo.add(func() error { stop(); return nil })
}

// seeMembers has the placement see who is there now, the last one asked for last.
func (s *System) seeMembers(d *schedd.Schedd) {
	s.seeing.Lock()
	defer s.seeing.Unlock()
	d.Placer().SetMembers(s.placeMembers())
}

// placeMembers are the nodes as the placement needs them.
func (s *System) placeMembers() (out []place.Member) {
	if s.Gossip == nil {
		return []place.Member{{Number: s.nodeNum, Boot: s.boot, Name: s.Config.Node, Domain: s.Config.Domain, Roles: s.Config.Roles}}
	}
	for _, m := range s.Gossip.Members() {
		if s.refusing.has(m.Number, m.Boot) {
			continue
		}
		out = append(out, place.Member{
			Number: m.Number, Boot: m.Boot, Name: m.Name, Domain: m.Domain, Roles: m.Roles,
			Serving: len(m.Shards) > 0, Leaving: m.Leaving, Draining: m.Draining,
		})
		if m.Number == s.nodeNum { // gossip is behind
			out[len(out)-1].Draining = s.draining.Load()
		}
	}
	return out
}

// sizes are those of the nodes that run procs.
func (s *System) sizes() []schedd.Size {
	if s.Gossip == nil {
		return []schedd.Size{{Node: s.Config.Node, MCPU: s.Config.MCPU, Memory: s.Config.Memory}}
	}
	var out []schedd.Size
	for _, m := range s.Gossip.Members() {
		if offers(m.Roles, "node") {
			out = append(out, schedd.Size{Node: m.Name, MCPU: m.Size.MCPU, Memory: m.Size.Memory})
		}
	}
	return out
}

// scheddOthers are the other nodes as the schedd needs them; nil where there can be
// none.
func (s *System) scheddOthers() schedd.Others {
	if s.Gossip == nil {
		return nil
	}
	return others{s}
}

func (o others) Alive(node uint16, boot uint32) bool {
	m, ok := o.Gossip.Lookup(node)
	return ok && m.Boot == boot
}

func (o others) Ask(ctx context.Context, node uint16, method string, req []byte) ([]byte, error) {
	return o.Call(ctx, node, method, req)
}

func (o others) AskAll(ctx context.Context, method string, req []byte) [][]byte {
	return o.askAll(ctx, method, req)
}

func (o others) Follow(ctx context.Context, node uint16, method string, req []byte, each func([]byte) error) error {
	c, err := o.Peers.Link(ctx, node)
	if err != nil {
		return err
	}
	st, err := c.Stream(ctx, method)
	if err != nil {
		return err
	}
	defer st.Close()
	if err := st.SendContext(ctx, req); err != nil {
		return err
	}
	for {
		m, err := st.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := each(m); err != nil {
			return err
		}
	}
}
