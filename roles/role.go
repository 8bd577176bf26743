// Package roles puts a node together. A role is a value: its name, the roles
// it needs on the same node, and how it starts. They all stand in one table;
// there is no registry and nothing registers itself.
//
// [Start] starts the roles asked for, each after those it needs, and stops them
// in reverse order, also when a later one fails. What a role makes for others
// it leaves in the [System].
package roles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
	"sigmaos/naming/named"
	"sigmaos/naming/ux"
	"sigmaos/net/dialproxy"
	"sigmaos/net/gossip"
	"sigmaos/net/peers"
	"sigmaos/net/pki"
	"sigmaos/net/port"
	"sigmaos/net/realmtoken"
	"sigmaos/net/talk"
	"sigmaos/roles/config"
	"sigmaos/roles/lock"
	"sigmaos/roles/schedd"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/events"
)

// Role is one thing that a node can be willing to do.
type Role struct {
	Name  string
	Doc   string
	Needs []string
	// Start returns how to stop what it started; stop waits until it is gone,
	// but no longer than ctx.
	Start func(ctx context.Context, s *System) (stop func(context.Context) error, err error)
}

// Table lists every role. Those without a name of their own in --roles
// (cluster, realms, events, proxy, initd, operator, gateway, metrics) come with every node.
var Table = []Role{
	{Name: "cluster", Doc: "membership: keys, certificates, the other nodes; etcd", Start: startCluster},
	{Name: "named", Doc: "may host an etcd peer with the cluster's and the realms' records, and serves realms' roots", Needs: []string{"cluster"}, Start: startVoters},
	{Name: "realms", Doc: "follows the table of tenants", Needs: []string{"cluster"}, Start: startRealms},
	{Name: "events", Doc: "keeps what happened on this node", Needs: []string{"realms"}, Start: startEvents},
	{Name: "proxy", Doc: "connects procs", Needs: []string{"events"}, Start: startProxy},
	{Name: "names", Doc: "serves the realms' roots that it leads, and scratch", Needs: []string{"proxy"}, Start: startNames},
	{Name: "node", Doc: "starts procs: slots, binfs, logs", Needs: []string{"proxy", "names"}, Start: startNode},
	{Name: "besched", Doc: "may hold a shard of the queue of best-effort procs", Needs: []string{"node"}, Start: offered},
	{Name: "lcsched", Doc: "may be the one that places latency-critical procs", Needs: []string{"node"}, Start: offered},
	{Name: "s3", Doc: "serves the realms' buckets in object stores", Needs: []string{"proxy", "names"}, Start: startS3},
	{Name: "db", Doc: "serves the realms' databases", Needs: []string{"proxy", "names"}, Start: startDB},
	{Name: "gateway", Doc: "the way in for programs outside", Needs: []string{"node"}, Start: startGateway},
	{Name: "initd", Doc: "starts registered procs when the whole system comes back", Needs: []string{"node"}, Start: startInitd},
	{Name: "operator", Doc: "the operator's socket", Needs: []string{"node"}, Start: startOperator},
	{Name: "metrics", Doc: "Prometheus metrics on a local port", Needs: []string{"node"}, Start: startMetrics},
}

// System is a running sigmad: its configuration and what its roles made.
type System struct {
	Config  config.Config
	Version string
	Log     *slog.Logger
	Files   *lock.Instance

	Info      api.ClusterInfo
	Realms    *named.Realms
	Schedd    *schedd.Schedd
	Proxy     *dialproxy.Proxy
	Trees     *named.Trees
	ux        *ux.Server
	objects   atomic.Pointer[objects]   // of role s3; nil without it
	databases atomic.Pointer[databases] // of role db; nil without it
	shown     links                     // what this node has in every realm's names
	counted   *countedEtcd
	running   atomic.Pointer[schedd.Schedd] // Schedd, likewise
	names     atomic.Pointer[named.Trees]   // Trees, for who runs before it is there
	store     atomic.Pointer[binfs.Store]   // the programs, likewise …
	stores    atomic.Pointer[inStores]      // … and those in object stores

	Identity  *pki.Identity
	Port      *port.Port     // nil: this node is alone
	Gossip    *gossip.Gossip // nil with Port
	Peers     *peers.Peers   // nil with Port
	talk      *talk.Talk     // nil with Port
	refusing  refusing
	seeing    sync.Mutex  // orders seeMembers
	draining  atomic.Bool // this node
	proxying  atomic.Pointer[dialproxy.Proxy]
	meeting   atomic.Pointer[gossip.Gossip] // Gossip, for who runs before it is there
	etcd      *clientv3.Client
	hosting   atomic.Pointer[named.Peer] // nil while this node has no etcd peer
	mesh      *named.Mesh                // of its connections; nil with Port
	useless   openConns                  // to be cut when its peer is of no use
	sharing   sync.Mutex                 // orders updateShared
	known     atomic.Pointer[shared]     // what this node remembers of the others
	expelled  atomic.Bool                // another node said that this one was removed
	removed   removedNodes
	failed    chan error
	inits     initState
	events    *events.Log
	restore   restoring
	record    named.Cluster // as of followKeys, which alone reads it after the start
	clusterID string
	tokens    *realmtoken.Keys
	nodeNum   uint16
	boot      uint32
	stops     []stop
}

type stop struct {
	role string
	fn   func(context.Context) error
}

// stopTime bounds the end of one role.
const stopTime = 15 * time.Second

// Check reports a role that does not exist.
func Check(roles []string) error {
	_, err := inOrder(roles)
	return err
}

// inOrder is the table's part for the roles that were asked for, and those that
// come with every node.
func inOrder(roles []string) ([]Role, error) {
	return order(Table, append(slices.Clone(roles), "initd", "operator", "gateway", "metrics"))
}

// Start takes the instance's directories and starts the roles of cfg.
func Start(ctx context.Context, cfg config.Config, version string, log *slog.Logger) (_ *System, err error) {
	order, err := inOrder(cfg.Roles)
	if err != nil {
		return nil, err
	}
	files, err := lock.Acquire(cfg.RunDir, cfg.DataDir)
	if err != nil {
		return nil, err
	}
	s := &System{Config: cfg, Version: version, Log: log, Files: files, failed: make(chan error, 1)}
	s.inits.wake = make(chan struct{}, 1)
	s.inits.part = make(chan struct{})
	s.shown.init()
	s.Info = api.ClusterInfo{Name: cfg.Name, Node: cfg.Node, Version: version, Started: time.Now(), Insecure: cfg.Insecure}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	for _, r := range order {
		begin := time.Now()
		fn, err := r.Start(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", r.Name, err)
		}
		s.stops = append(s.stops, stop{r.Name, fn})
		log.Debug("role started", "role", r.Name, "took", time.Since(begin).Round(time.Millisecond))
	}
	s.awaitShown(ctx)
	return s, nil
}

// Failed gives the error for which this node cannot go on.
func (s *System) Failed() <-chan error { return s.failed }

func (s *System) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// Stop stops all roles in reverse order and gives the directories back.
func (s *System) Stop() error {
	var errs []error
	for _, r := range slices.Backward(s.stops) {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		if err := r.fn(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stopping role %s: %w", r.role, err))
		}
		cancel()
	}
	s.stops = nil
	return errors.Join(append(errs, s.Files.Release())...)
}

// order returns the wanted roles and all they need, each after its needs.
func order(table []Role, want []string) ([]Role, error) {
	byName := make(map[string]Role)
	var names []string
	for _, r := range table {
		byName[r.Name] = r
		names = append(names, r.Name)
	}
	var out []Role
	state := make(map[string]int) // 1 under way, 2 done
	var visit func(name, by string) error
	visit = func(name, by string) error {
		r, ok := byName[name]
		switch {
		case !ok:
			return fmt.Errorf("role %q does not exist; there are %s", name, strings.Join(names, ", "))
		case state[name] == 2:
			return nil
		case state[name] == 1:
			return fmt.Errorf("roles %s and %s need each other", by, name)
		}
		state[name] = 1
		for _, n := range r.Needs {
			if err := visit(n, name); err != nil {
				return err
			}
		}
		state[name] = 2
		out = append(out, r)
		return nil
	}
	for _, name := range want {
		if err := visit(name, ""); err != nil {
			return nil, err
		}
	}
	return out, nil
}
