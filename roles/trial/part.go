package trial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/clock"
	"sigmaos/net/peers"
	"sigmaos/net/pki"
	"sigmaos/net/port"
	"sigmaos/net/rpc"
	"sigmaos/net/talk"
	"sigmaos/roles/place"
	"sigmaos/roles/schedd"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/events"
	"sigmaos/runtime/logs"
	"sigmaos/sched/node"
)

// part is one of the three.
type part struct {
	name  string
	dir   string
	log   *slog.Logger
	undo  []func() error
	port  *port.Port
	peers *peers.Peers
	talk  *talk.Talk
	calls calls // of talk
	// engine is that of schedd, where there is one. It is set last: what comes before
	// is refused and comes again.
	engine atomic.Pointer[place.Engine]
	schedd *schedd.Schedd // not of the shard
	door   *doorstep
}

// member is where a part is.
type member struct {
	Name string `json:"name"`
	Addr string `json:"addr"`
}

// number is that of the i-th member; 0 is nobody.
func number(i int) uint16 { return uint16(i + 1) }

const (
	boot   = 1
	method = "talk"
	// The node has room for all that may be under way, and queues hold it.
	mcpu, memory = api.MaxMCPU, 1 << 45
	queued       = 200_000
)

// listen opens a part's port.
func listen(dir, name string) (*part, error) {
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("there is no part %q", name)
	}
	p := &part{name: name, dir: filepath.Join(dir, name), door: new(doorstep), log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	id, err := pki.LoadOrCreate(identityDir(dir, name), clock.Real())
	if err != nil {
		return nil, err
	}
	if p.port, err = port.Listen(port.Config{Addr: "127.0.0.1:0", Identity: id, Logger: p.log}); err != nil {
		return nil, err
	}
	p.undo = append(p.undo, p.port.Close)
	return p, nil
}

// meet starts what a part does, and has it know the others.
func (p *part) meet(list []member) error {
	book := make(book)
	var members []place.Member
	for i, m := range list {
		book[number(i)] = m
		members = append(members, place.Member{Number: number(i), Boot: boot, Name: m.Name, Roles: offered[m.Name]})
	}
	server := rpc.NewServer(peers.Beats(rpc.Options{}))
	server.Handle(method, func(_ context.Context, r *rpc.Request) ([]byte, error) {
		if p.engine.Load() == nil {
			return nil, api.E(api.Unavailable, "link", p.name, "it is starting")
		}
		return p.talk.Serve(r.Peer.(pki.Peer).Number, r.Body)
	})
	var err error
	if p.peers, err = peers.Start(peers.Config{Port: p.port, Directory: book, Server: server, Logger: p.log}); err != nil {
		return err
	}
	p.undo = append(p.undo, p.peers.Close)
	self := talk.Peer{Number: number(slices.Index(names, p.name)), Boot: boot}
	p.talk = talk.New(talk.Config{
		Self: self, Call: p.call, Encode: place.Encode, Decode: place.Decode, Logger: p.log,
		Receive: func(from talk.Peer, messages []any) { p.engine.Load().Receive(from, messages) },
		Over:    func(peer talk.Peer, _ bool, undelivered []any) { p.engine.Load().Over(peer, undelivered) },
	})
	p.undo = append(p.undo, p.talk.Close)
	e, err := p.newEngine(place.Config{
		Self: self, Table: node.New(mcpu, memory), Queued: queued, Send: p.talk.Send, Watch: p.talk.Watch, Logger: p.log,
		Claim: func(context.Context) (uint64, error) { return 1, nil },
	})
	if err != nil {
		return err
	}
	p.engine.Store(e)
	e.SetMembers(members)
	return nil
}

// call is talk's, timed.
func (p *part) call(ctx context.Context, node uint16, req []byte) ([]byte, error) {
	defer p.calls.begin()()
	c, err := p.peers.Link(ctx, node)
	if err != nil {
		return nil, err
	}
	return c.Call(ctx, method, req)
}

// newEngine makes a part's engine: in a schedd, but for the shard's.
func (p *part) newEngine(cfg place.Config) (*place.Engine, error) {
	if p.name == "shard" {
		cfg.Host = nobody{}
		e := place.New(cfg)
		p.undo = append(p.undo, func() error { e.Close(); return nil })
		return e, nil
	}
	store, err := binfs.OpenStore(filepath.Join(p.dir, "bin"))
	if err != nil {
		return nil, err
	}
	out, err := logs.Open(filepath.Join(p.dir, "logs"), logs.Limits{}, clock.Real(), p.log)
	if err != nil {
		return nil, err
	}
	p.undo = append(p.undo, func() error { out.Close(); return nil })
	happened, err := events.Open(events.Config{Dir: filepath.Join(p.dir, "events"), Node: p.name, Logger: p.log})
	if err != nil {
		return nil, err
	}
	p.undo = append(p.undo, happened.Close)
	var tree *cgroup.Tree
	if p.name == "node" {
		if tree, err = p.cgroups(); err != nil {
			return nil, err
		}
	}
	p.schedd, err = schedd.New(schedd.Config{
		Info: api.ClusterInfo{Node: p.name}, NodeNum: cfg.Self.Number, Boot: cfg.Self.Boot, Pool: p.door, Cgroups: tree,
		Logs: out, Store: store, Realms: oneRealm{}, Place: cfg, Logger: p.log, Event: happened.Add,
	})
	if err != nil {
		return nil, err
	}
	p.undo = append(p.undo, func() error { p.schedd.Close(); return nil })
	return p.schedd.Placer(), p.upload(store)
}

// cgroups is the tree in which schedd bounds best-effort procs as a whole, which LC
// procs have it do.
func (p *part) cgroups() (*cgroup.Tree, error) {
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	tree, err := cgroup.Open(cgroup.Config{Layout: layout, Root: filepath.Base(filepath.Dir(p.dir)), Node: p.name, Logger: p.log})
	if err != nil {
		return nil, err
	}
	p.undo = append(p.undo, tree.Close)
	return tree, nil
}

// program is what the procs would run.
const program = "/bin/trial"

// upload stores a program, which no machine could run.
func (p *part) upload(store *binfs.Store) error {
	text := "no proc comes so far"
	d, err := store.Put(realm, strings.NewReader(text), "", int64(len(text)))
	if err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"name":"trial","digest":%q,"size":%d}`, d, len(text))
	_, err = p.schedd.Call(context.Background(), caller, wire.Call{Method: api.MPutBegin, Body: body}, nil)
	return err
}

func (p *part) close() error {
	var errs []error
	for _, fn := range slices.Backward(p.undo) {
		errs = append(errs, fn())
	}
	return errors.Join(errs...)
}
