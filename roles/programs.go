package roles

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/net/rpc"
	"sigmaos/runtime/binfs"
)

// What nodes ask each other about programs.
const (
	methodProgram = "bin.find"  // programName → api.Program: a name in a realm's /bin, or a digest
	methodGive    = "bin.give"  // binfs.Question → the bytes
	methodLearn   = "bin.learn" // binfs.Learned: what a start of a program touched that the asked node gave
)

type programName struct {
	Realm string `json:"realm"`
	Path  string `json:"path"`
}

// programCache is how big a realm's cache of programs from elsewhere gets on a
// node.
const programCache = 4 << 30

// nameTime is how long what another node says about a name holds.
const (
	nameTime = 2 * time.Second
	maxNames = 4096
)

// elsewhere finds programs that this node does not have: names by asking all
// nodes, bytes by asking one after the other, and the realm's store.
type elsewhere struct {
	s      *System
	chain  *binfs.Chain
	stores *inStores

	mu    sync.Mutex
	names map[programName]foundProgram
}

type foundProgram struct {
	p    api.Program
	when time.Time
}

func newElsewhere(s *System) *elsewhere {
	e := &elsewhere{s: s, stores: &inStores{ways: newWays(s), most: maxStarts}, names: make(map[programName]foundProgram)}
	e.chain = binfs.NewChain(e.origins)
	return e
}

// origins are the other nodes, then the realm's store.
func (e *elsewhere) origins(realm string, d binfs.Digest) (out []binfs.Origin) {
	if e.s.Gossip != nil {
		for _, m := range e.s.Gossip.Members() {
			if m.Number != e.s.nodeNum {
				out = append(out, peerOrigin{e.s, m.Number, m.Name})
			}
		}
	}
	if o := e.stores.at(realm, d); o != nil {
		out = append(out, o)
	}
	return out
}

// namedProgram is what another node says that a name, or digest, of a realm is.
type namedProgram struct {
	Node    string
	Program api.Program
}

// find asks all nodes for a name that this one does not know.
func (e *elsewhere) find(realm, path string) (api.Program, bool) {
	key := programName{realm, path}
	e.mu.Lock()
	f, ok := e.names[key]
	e.mu.Unlock()
	if ok && time.Since(f.when) < nameTime {
		return f.p, true
	}
	b, err := json.Marshal(key)
	if err != nil {
		return api.Program{}, false
	}
	for _, answer := range e.s.askAll(context.Background(), methodProgram, b) {
		var n namedProgram
		if json.Unmarshal(answer, &n) != nil {
			continue
		}
		d, err := binfs.ParseDigest(n.Program.Digest)
		if err != nil {
			continue
		}
		e.chain.Favour(realm, d, n.Node)
		e.mu.Lock()
		if len(e.names) >= maxNames {
			clear(e.names)
		}
		e.names[key] = foundProgram{n.Program, time.Now()}
		e.mu.Unlock()
		return n.Program, true
	}
	return api.Program{}, false
}

// favour notes that a node is likely to have a program.
func (e *elsewhere) favour(realm, digest, node string) {
	if d, err := binfs.ParseDigest(digest); err == nil {
		e.chain.Favour(realm, d, node)
	}
}

// peerOrigin is another node.
type peerOrigin struct {
	s    *System
	node uint16
	name string
}

func (o peerOrigin) Name() string { return o.name }

func (o peerOrigin) ask(ctx context.Context, q binfs.Question) ([]byte, error) {
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	return (others{o.s}).Call(ctx, o.node, methodGive, b)
}

func (o peerOrigin) Open(ctx context.Context, realm string, d binfs.Digest) (binfs.Opening, error) {
	b, err := o.ask(ctx, binfs.Question{Realm: realm, Digest: string(d), Start: true})
	if err != nil {
		return binfs.Opening{}, err
	}
	open, err := binfs.UnmarshalOpening(b)
	if err == nil { // the tree of a large program comes in parts
		err = open.Whole(func(at int) ([]byte, error) {
			return o.ask(ctx, binfs.Question{Realm: realm, Digest: string(d), Tree: at})
		})
	}
	return open, err
}

func (o peerOrigin) Chunks(ctx context.Context, realm string, d binfs.Digest, list []uint32) ([]byte, error) {
	return o.ask(ctx, binfs.Question{Realm: realm, Digest: string(d), Chunks: list})
}

func (o peerOrigin) Learn(ctx context.Context, realm string, d binfs.Digest, p binfs.Profile) error {
	b, err := json.Marshal(binfs.Learned{Realm: realm, Digest: string(d), Profile: p.Marshal()})
	if err != nil {
		return err
	}
	_, err = (others{o.s}).Call(ctx, o.node, methodLearn, b)
	if api.KindOf(err) == api.Unsupported { // it is of an earlier version
		err = nil
	}
	return err
}

// servePrograms answers other nodes. Nodes trust each other to ask only for
// realms that they serve.
func (s *System) servePrograms(server *rpc.Server) {
	server.Handle(methodProgram, func(_ context.Context, r *rpc.Request) ([]byte, error) {
		d := s.running.Load()
		if d == nil {
			return nil, api.E(api.Unavailable, "link", s.Config.Node, "the node is starting")
		}
		var q programName
		if err := json.Unmarshal(r.Body, &q); err != nil {
			return nil, api.E(api.Invalid, r.Method, "", "%v", err)
		}
		p, err := d.Program(q.Realm, q.Path)
		if err != nil {
			return nil, err
		}
		return json.Marshal(namedProgram{s.Config.Node, p})
	})
	server.Handle(methodGive, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
		st := s.store.Load()
		if st == nil {
			return nil, api.E(api.Unavailable, "link", s.Config.Node, "the node is starting")
		}
		var q binfs.Question
		if err := json.Unmarshal(r.Body, &q); err != nil {
			return nil, api.E(api.Invalid, r.Method, "", "%v", err)
		}
		b, err := st.Give(q)
		if i := s.stores.Load(); i != nil && errors.Is(err, fs.ErrNotExist) {
			if o := i.at(q.Realm, binfs.Digest(q.Digest)); o != nil { // for who does not know where it is
				return o.give(ctx, q)
			}
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, api.E(api.NotFound, r.Method, q.Digest, "this node does not have it")
		case err != nil:
			return nil, api.E(api.Unavailable, r.Method, q.Digest, "%v", err)
		}
		return b, nil
	})
	server.Handle(methodLearn, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
		st := s.store.Load()
		if st == nil {
			return nil, api.E(api.Unavailable, "link", s.Config.Node, "the node is starting")
		}
		var l binfs.Learned
		if err := json.Unmarshal(r.Body, &l); err != nil {
			return nil, api.E(api.Invalid, r.Method, "", "%v", err)
		}
		if i := s.stores.Load(); i != nil {
			if o := i.at(l.Realm, binfs.Digest(l.Digest)); o != nil {
				p, err := binfs.UnmarshalProfile(l.Profile)
				if err != nil {
					return nil, api.E(api.Invalid, r.Method, l.Digest, "%v", err)
				}
				return nil, o.Learn(ctx, l.Realm, binfs.Digest(l.Digest), p)
			}
		}
		if err := st.Learn(l); err != nil {
			return nil, api.E(api.Unavailable, r.Method, l.Digest, "%v", err)
		}
		return nil, nil
	})
}
