package roles

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/net/rpc"
	"sigmaos/runtime/events"
)

// methodEvents asks another node for what happened there.
const methodEvents = "events.read"

// eventsAsk is its request: of one realm, or of all and the cluster.
type eventsAsk struct {
	Realm string    `json:"realm"`
	All   bool      `json:"all"`
	Since time.Time `json:"since"`
	After int64     `json:"after"`
}

type eventsAnswer struct {
	Events []api.Event `json:"events"`
	More   bool        `json:"more"`
}

const (
	eventsPerNode = 500
	eventsTime    = 3 * time.Second // for a node to answer
)

func startEvents(_ context.Context, s *System) (func(context.Context) error, error) {
	l, err := events.Open(events.Config{Dir: filepath.Join(s.Config.DataDir, "events"), Node: s.Config.Node, Logger: s.Log.With("role", "events")})
	if err != nil {
		return nil, err
	}
	s.events = l
	return func(context.Context) error { return l.Close() }, nil
}

// event notes what happened in a realm, by id; "" is the cluster. What still
// happens in one that is removed is nobody's to read.
func (s *System) event(realm string, e api.Event) {
	if realm != "" {
		if _, err := s.Realms.ByID(realm); err != nil {
			return
		}
	}
	s.events.Add(realm, e)
}

func (s *System) dialledOutside(c api.Caller, target, address string) {
	if target != address {
		target += " at " + address
	}
	s.event(c.Realm, api.Event{Kind: api.EventDialled, Proc: c.Proc, User: c.User, Detail: target})
}

// eventsHere is this node's part of an answer.
func (s *System) eventsHere(q eventsAsk) (a eventsAnswer) {
	realms := []string{q.Realm}
	if q.All {
		realms = []string{""}
		for _, r := range s.Realms.List() {
			realms = append(realms, r.ID)
		}
	}
	a.Events, a.More = s.events.Read(realms, q.Since, q.After, eventsPerNode)
	return a
}

func (s *System) serveEvents(_ context.Context, r *rpc.Request) ([]byte, error) {
	var q eventsAsk
	if err := s.question(r, &q); err != nil { // names come after events
		return nil, err
	}
	return json.Marshal(s.eventsHere(q))
}

// readEvents merges what happened on all nodes.
func (s *System) readEvents(ctx context.Context, c api.Caller, q api.EventQuery) (api.EventPage, error) {
	page := api.EventPage{Events: []api.Event{}, After: q.After}
	if page.After == nil {
		page.After = make(map[string]int64)
	}
	q.All = q.All || c.Realm == ""
	if q.All && !c.Operator {
		return page, api.E(api.Denied, "events", "", "only an operator sees the events of all realms")
	}
	ask := func(node string) eventsAsk {
		return eventsAsk{Realm: c.Realm, All: q.All, Since: q.Since, After: page.After[node]}
	}
	var mu sync.Mutex
	lists := [][]api.Event{nil}
	here := s.eventsHere(ask(s.Config.Node))
	lists[0], page.More = here.Events, here.More
	var wg sync.WaitGroup
	if s.Gossip != nil {
		for _, m := range s.Gossip.Members() {
			if m.Number == s.nodeNum {
				continue
			}
			b, err := json.Marshal(ask(m.Name))
			if err != nil {
				return page, err
			}
			wg.Go(func() {
				rctx, cancel := context.WithTimeout(ctx, eventsTime)
				defer cancel()
				var a eventsAnswer
				b, err := (others{s}).Call(rctx, m.Number, methodEvents, b)
				if err == nil {
					err = json.Unmarshal(b, &a)
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					page.Missing = append(page.Missing, m.Name)
					return
				}
				lists, page.More = append(lists, a.Events), page.More || a.More
			})
		}
	}
	wg.Wait()
	slices.Sort(page.Missing)
	all := events.Merge(lists...)
	if len(all) > api.MaxEvents {
		all, page.More = all[:api.MaxEvents], true
	}
	for i, e := range all {
		page.After[e.Node] = max(page.After[e.Node], e.Seq)
		if r, err := s.Realms.ByID(e.Realm); err == nil {
			all[i].Realm = r.Name
		}
	}
	page.Events = append(page.Events, all...)
	return page, nil
}
