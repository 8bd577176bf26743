package schedd

import (
	"context"
	"encoding/json"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/runtime/logs"
)

// Others is the rest of the cluster.
type Others interface {
	// Name is that of a node.
	Name(node uint16) string
	// Alive says whether a node runs in that boot.
	Alive(node uint16, boot uint32) bool
	// Ask calls one node, AskAll all others; those that do not answer in time are
	// left out.
	Ask(ctx context.Context, node uint16, method string, req []byte) ([]byte, error)
	AskAll(ctx context.Context, method string, req []byte) [][]byte
	// Follow calls a method that answers with many messages.
	Follow(ctx context.Context, node uint16, method string, req []byte, each func([]byte) error) error
}

// What schedds ask each other. Bodies are JSON. Nodes trust each other about who the
// caller is.
const (
	PeerWait    = "proc.wait"    // peerAsk → peerStatus: of the proc's home
	PeerKill    = "proc.kill"    // peerAsk: likewise
	PeerFind    = "proc.find"    // peerAsk → ids of the node's procs with that prefix
	PeerList    = "proc.ls"      // peerAsk → peerList
	PeerWhy     = "proc.why"     // peerAsk → api.Why: of home, or Here
	PeerDump    = "proc.dump"    // peerAsk → api.Dump: likewise
	PeerRoom    = "proc.room"    // api.ProcDesc → a sentence
	PeerMissing = "proc.missing" // peerAsk → sentences: of lcsched
	PeerShare   = "proc.share"   // peerAsk with a realm's id: give back what of its quota is not used
	PeerLogs    = "proc.logs"    // peerAsk → a stream of wire.Call with api.LogRecord
)

type peerAsk struct {
	Caller api.Caller     `json:"caller"`
	ID     string         `json:"id,omitempty"`
	Start  bool           `json:"start,omitempty"`  // wait for the start
	Here   bool           `json:"here,omitempty"`   // as the node that runs it
	Target wire.Target    `json:"target,omitempty"` // of a kill
	Filter api.ProcFilter `json:"filter,omitempty"`
	Logs   api.LogQuery   `json:"logs,omitempty"`
}

type peerStatus struct {
	Status *api.Status `json:"status,omitempty"`
}

type peerList struct {
	Node  uint16         `json:"node"`
	Procs []api.ProcInfo `json:"procs"`
}

// Peer serves the calls of other nodes.
func (s *Schedd) Peer(ctx context.Context, method string, body []byte) ([]byte, error) {
	if method == PeerRoom {
		var d api.ProcDesc
		if err := json.Unmarshal(body, &d); err != nil {
			return nil, api.E(api.Invalid, method, "", "%v", err)
		}
		return json.Marshal(s.cfg.Info.Node + ": " + s.place.Room(&d))
	}
	var q peerAsk
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, api.E(api.Invalid, method, "", "%v", err)
	}
	v, err := s.peer(ctx, method, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func (s *Schedd) peer(ctx context.Context, method string, q peerAsk) (any, error) {
	switch method {
	case PeerWait:
		if q.Start {
			st, err := s.waitStart(ctx, q.Caller, q.ID)
			return peerStatus{st}, err
		}
		st, err := s.waitExit(ctx, q.Caller, q.ID)
		return peerStatus{&st}, err
	case PeerKill:
		return nil, s.killOwn(q.Caller, q.Target)
	case PeerFind:
		return s.beginWith(q.Caller.Realm, q.ID), nil
	case PeerList:
		return peerList{s.cfg.NodeNum, s.procsHere(q.Caller, q.Filter)}, nil
	case PeerMissing:
		return s.place.Missing(api.ProcID(q.ID)), nil
	case PeerShare:
		return nil, s.giveBack(ctx, q.ID, false)
	case PeerWhy:
		p, err := s.findFor(q, "why")
		if err != nil {
			return nil, err
		}
		return s.whyOf(ctx, q.Caller, p, !q.Here), nil
	case PeerDump:
		p, err := s.findFor(q, "dump")
		if err != nil {
			return nil, err
		}
		return s.dumpOf(ctx, q.Caller, p, !q.Here)
	}
	return nil, api.E(api.Unsupported, "call", method, "this sigmad has no such method")
}

// findFor finds the proc that another node asks about.
func (s *Schedd) findFor(q peerAsk, op string) (*proc, error) {
	if !q.Here {
		return s.find(q.Caller, op, q.ID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.realms[q.Caller.Realm]; r != nil {
		if p := r.guests[api.ProcID(q.ID)]; p != nil {
			return p, nil
		}
	}
	return nil, api.E(api.NotFound, op, q.ID, "it does not run on node %s", s.cfg.Info.Node)
}

// PeerStream serves the calls of other nodes that have many answers.
func (s *Schedd) PeerStream(ctx context.Context, body []byte, send func([]byte) error) error {
	var q peerAsk
	if err := json.Unmarshal(body, &q); err != nil {
		return api.E(api.Invalid, PeerLogs, "", "%v", err)
	}
	p, err := s.find(q.Caller, "logs", q.Logs.Name)
	if err != nil {
		return err
	}
	return s.readLog(ctx, p, q.Logs, func(r any, data []byte) error {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return send(wire.Call{Body: b, Data: data}.Encode())
	})
}

func (s *Schedd) readLog(ctx context.Context, p *proc, q api.LogQuery, send sender) error {
	opt := logs.Options{Follow: q.Follow, TailLines: q.Lines, Stream: q.Stream}
	return s.cfg.Logs.Read(ctx, p.realm.rec.ID, string(p.id), opt, func(r logs.Record) error {
		return send(api.LogRecord{Stream: r.Stream, Time: r.Time, Dropped: r.Stream == 0}, r.Data)
	})
}

// locate finds a proc by id or prefix: here, or the node that is its home.
func (s *Schedd) locate(ctx context.Context, c api.Caller, op, name string) (p *proc, node uint16, id string, err error) {
	p, err = s.find(c, op, name)
	if err == nil || s.cfg.Others == nil || api.KindOf(err) != api.NotFound || name == "" {
		return p, s.cfg.NodeNum, name, err
	}
	if node, boot, whole := api.ProcID(name).Home(); whole {
		switch {
		case node == s.cfg.NodeNum:
			return nil, 0, "", err
		case !s.cfg.Others.Alive(node, boot):
			return nil, 0, "", api.E(api.Unavailable, op, name, "its home node is gone, and what was known of it")
		}
		return nil, node, name, nil
	}
	b, jerr := json.Marshal(peerAsk{Caller: c, ID: name})
	if jerr != nil {
		return nil, 0, "", jerr
	}
	var all []api.ProcID
	for _, answer := range s.cfg.Others.AskAll(ctx, PeerFind, b) {
		var ids []api.ProcID
		if json.Unmarshal(answer, &ids) == nil {
			all = append(all, ids...)
		}
	}
	switch len(all) {
	case 0:
		return nil, 0, "", err
	case 1:
		node, _, _ := all[0].Home()
		return nil, node, string(all[0]), nil
	}
	return nil, 0, "", ambiguous(op, name, all)
}

// maxFound bounds what one node names of the procs with a prefix.
const maxFound = 10

// beginWith lists procs of a realm whose home this is.
func (s *Schedd) beginWith(realm, prefix string) (ids []api.ProcID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.realms[realm]; r != nil {
		ids = r.beginWithLocked(prefix)
	}
	return ids[:min(len(ids), maxFound)]
}

// ask calls another node and decodes its answer into v.
func (s *Schedd) askNode(ctx context.Context, node uint16, method string, q, v any) error {
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	b, err = s.cfg.Others.Ask(ctx, node, method, b)
	if err != nil || v == nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// nodeName is that of a node by its number; 0 is this one's.
func (s *Schedd) nodeName(n uint16) string {
	if n == 0 || n == s.cfg.NodeNum || s.cfg.Others == nil {
		return s.cfg.Info.Node
	}
	return s.cfg.Others.Name(n)
}
