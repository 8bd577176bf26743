package roles

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/naming/named"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
	"sigmaos/naming/ux"
	"sigmaos/net/rpc"
	"sigmaos/sched/elect"
)

// The services of the name space, as procs dial them.
const (
	namedService = "named"
	uxService    = "ux"
)

// startNames serves the realms' roots that this node leads, and its scratch.
func startNames(_ context.Context, s *System) (func(context.Context) error, error) {
	log := s.Log.With("role", "names")
	s.counted = &countedEtcd{Etcd: s.etcd}
	trees, err := named.NewTrees(named.Config{Etcd: s.counted, Node: s.Config.Node, Boot: s.boot, Logger: log})
	if err != nil {
		return nil, err
	}
	s.Trees = trees
	s.names.Store(trees)
	var undo undoStack
	undo.add(trees.Close)
	s.ux, err = ux.Open(ux.Config{
		Dir: filepath.Join(s.Config.DataDir, "ux"), Node: s.Config.Node, Clock: clock.Real(), Logger: log, CheckFence: s.checkFence,
	})
	if err != nil {
		undo.run()
		return nil, err
	}
	undo.add(s.ux.Close)
	s.Proxy.Serve(namedService, s.serveNamed)
	s.Proxy.Serve(uxService, s.serveUx)
	s.publish("ux", uxService)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.publishLinks(ctx)
	}()
	undo.add(func() error { stop(); <-done; return nil })
	return func(context.Context) error { return undo.run() }, nil
}

// lastWords is the time that what was asked before the end of a term has to be
// answered with it.
const lastWords = time.Second

// serveNamed serves the realm's root to one caller, for a term at most: then the
// caller sees the end of the connection and asks anew where the leader is. Nobody
// would tell it otherwise, and a program keeps its connection for its life.
func (s *System) serveNamed(ctx context.Context, conn net.Conn, c api.Caller) {
	fs, err := s.Trees.Tree(ctx, c.Realm)
	if err != nil {
		s.Log.Debug("named", "realm", c.Realm, "err", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		select {
		case <-fs.Ended():
			select {
			case <-time.After(lastWords):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
	}()
	s.serveTree(ctx, conn, c, fs)
	cancel()
	<-done
}

// serveUx serves this node's scratch.
func (s *System) serveUx(ctx context.Context, conn net.Conn, c api.Caller) {
	if _, err := s.Realms.ByID(c.Realm); err != nil {
		return
	}
	s.serveTree(ctx, conn, c, s.ux.FS())
}

func (s *System) serveTree(ctx context.Context, conn net.Conn, c api.Caller, fs tree.FS) {
	if err := ninep.Serve(ctx, conn, c, fs, ninep.Options{}); err != nil && ctx.Err() == nil {
		s.Log.Debug("files", "realm", c.Realm, "proc", c.Proc, "err", err)
	}
}

// locateNamed says which node serves a realm's root: the one that leads it, or
// the one that is to lead it.
func (s *System) locateNamed(ctx context.Context, realm, _ string) (uint16, error) {
	if s.offersNamed() {
		_, err := s.Trees.Tree(ctx, realm)
		if err == nil {
			return s.nodeNum, nil
		}
		var other *named.NotLeader
		if !errors.As(err, &other) {
			return 0, err
		}
		return s.numberOf(other.Node)
	}
	leader, err := s.Trees.Leader(ctx, realm)
	if err != nil {
		return 0, err
	}
	if leader != "" {
		return s.numberOf(leader)
	}
	n, ok := elect.One(s.electors(), "named", realm)
	if !ok {
		return 0, api.E(api.Unavailable, "named", realm, "no node with the role named is alive")
	}
	return n, nil
}

func (s *System) offersNamed() bool { return slices.Contains(s.Config.Roles, "named") }

func (s *System) numberOf(node string) (uint16, error) {
	if node == s.Config.Node {
		return s.nodeNum, nil
	}
	if s.Gossip != nil {
		if m, ok := s.Gossip.Named(node); ok {
			return m.Number, nil
		}
	}
	return 0, api.E(api.Unavailable, "named", "", "node %s leads the realm and is not reachable; another takes over within seconds", node)
}

// electors are the living nodes for package elect.
func (s *System) electors() []elect.Member {
	if s.Gossip == nil {
		return []elect.Member{{Number: s.nodeNum, Roles: s.Config.Roles}}
	}
	var out []elect.Member
	for _, m := range s.Gossip.Members() {
		out = append(out, elect.Member{Number: m.Number, Roles: m.Roles, Leaving: m.Leaving})
	}
	return out
}

// system is who does σOS's own work in a realm.
func (s *System) system(realm string) api.Caller {
	return api.Caller{Node: s.Config.Node, Realm: realm, Operator: true}
}

// What nodes ask the one that leads a realm.
const (
	methodFence     = "named.fence"
	methodProcEnded = "named.procended"
)

// fenceCheck is the question of methodFence, ended that of methodProcEnded.
type fenceCheck struct {
	Realm string
	Fence tree.Fence
}

type ended struct {
	Realm string
	Proc  api.ProcID
}

// checkFence asks the leader of a realm whether a fence's term is the current
// one.
func (s *System) checkFence(ctx context.Context, realm string, f tree.Fence) error {
	return s.atLeader(ctx, realm, methodFence, fenceCheck{realm, f}, func() error { return s.Trees.CheckFence(ctx, realm, f) })
}

// procEnded ends the leases of a proc at once; where the leader cannot be told,
// they end by themselves.
func (s *System) procEnded(realm string, id api.ProcID) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.atLeader(ctx, realm, methodProcEnded, ended{realm, id}, func() error { return s.Trees.ProcEnded(ctx, realm, id) })
	if err != nil {
		s.Log.Debug("leases of an ended proc", "proc", id, "err", err)
	}
}

// atLeader does something on the node that leads a realm.
func (s *System) atLeader(ctx context.Context, realm, method string, v any, here func() error) error {
	node, err := s.locateNamed(ctx, realm, namedService)
	if err != nil {
		return err
	}
	if node == s.nodeNum {
		return here()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = (others{s}).Call(ctx, node, method, b)
	return err
}

// serveLeader answers those questions to other nodes.
func (s *System) serveLeader(server *rpc.Server) {
	server.Handle(methodFence, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
		var q fenceCheck
		if err := s.question(r, &q); err != nil {
			return nil, err
		}
		return nil, s.names.Load().CheckFence(ctx, q.Realm, q.Fence)
	})
	server.Handle(methodProcEnded, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
		var q ended
		if err := s.question(r, &q); err != nil {
			return nil, err
		}
		return nil, s.names.Load().ProcEnded(ctx, q.Realm, q.Proc)
	})
}

func (s *System) question(r *rpc.Request, v any) error {
	if s.names.Load() == nil {
		return api.E(api.Unavailable, "link", s.Config.Node, "the node is starting")
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		return api.E(api.Invalid, r.Method, "", "%v", err)
	}
	return nil
}
