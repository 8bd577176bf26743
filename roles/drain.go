package roles

import (
	"context"
	"encoding/json"
	"time"

	"sigmaos/api"
	"sigmaos/net/gossip"
	"sigmaos/net/rpc"
)

// methodDrain is api.MNodeDrain among nodes.
const methodDrain = "node.drain"

const maxGrace = 24 * time.Hour

// drain has a node given nothing new, and asks its latency-critical procs to end.
// Gossip tells the others; a restart ends it.
func (s *System) drain(ctx context.Context, r api.DrainRequest) (d api.DrainState, err error) {
	grace := time.Duration(r.GraceMS) * time.Millisecond
	if grace < 0 || grace > maxGrace {
		return d, api.E(api.Invalid, "node drain", r.Name, "a grace of %v; 0 to %v", grace, maxGrace)
	}
	if s.Gossip == nil && r.Name == s.Config.Node {
		return d, api.E(api.Conflict, "node drain", r.Name, "there is no other node; stop this one")
	}
	if r.Name == s.Config.Node {
		return s.drainHere(r, grace)
	}
	var m gossip.Member
	ok := false
	if s.Gossip != nil {
		m, ok = s.Gossip.Named(r.Name)
	}
	if !ok {
		return d, api.E(api.NotFound, "node drain", r.Name, "no node of that name is alive; see sigmactl node ls")
	}
	b, err := json.Marshal(r)
	if err != nil {
		return d, err
	}
	if b, err = (others{s}).Call(ctx, m.Number, methodDrain, b); err != nil {
		return d, err
	}
	return d, json.Unmarshal(b, &d)
}

func (s *System) serveDrain(_ context.Context, r *rpc.Request) ([]byte, error) {
	var q api.DrainRequest
	if s.running.Load() == nil {
		return nil, s.starting()
	}
	if err := s.question(r, &q); err != nil {
		return nil, err
	}
	d, err := s.drainHere(q, time.Duration(q.GraceMS)*time.Millisecond)
	if err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

func (s *System) drainHere(r api.DrainRequest, grace time.Duration) (api.DrainState, error) {
	d := s.running.Load()
	if !r.Look {
		what := "node " + s.Config.Node
		if r.Off {
			what += ", undrained"
		}
		s.event("", api.Event{Kind: api.EventDrained, User: "operator", Detail: what})
		if err := s.Gossip.Update(func(i *gossip.Info) { i.Draining = !r.Off }); err != nil {
			return api.DrainState{}, err
		}
		s.draining.Store(!r.Off)
		s.seeMembers(d)
		if !r.Off {
			d.AskAway("node "+s.Config.Node+" is drained", grace, r.All)
		}
	}
	st := api.DrainState{Name: s.Config.Node, Draining: s.draining.Load()}
	st.Here, st.Away = d.Depends()
	return st, nil
}
