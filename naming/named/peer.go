package named

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"sigmaos/internal/splice"
)

// PeerConfig of an embedded etcd.
type PeerConfig struct {
	Name    string // of the node
	DataDir string
	RunDir  string // for its sockets
	Logger  *slog.Logger
	Tick    time.Duration // of raft; ten make an election; default 100 ms
	Quota   int64         // bytes of etcd's database; default 4 GiB

	// Mesh reaches the peers of other nodes; without one this peer stays alone.
	// It stays the caller's, who closes it after the peer.
	Mesh *Mesh
	// First start alone: which nodes are the members, this one included. Empty is
	// this one alone.
	Members []string
	// Existing says that Members is a cluster that runs, which has added this
	// node; else they all start for the first time, with the same Token.
	Existing bool
	Token    string // tells etcd clusters apart
	// Waiting is called from time to time while the others are not there yet; an
	// error gives up.
	Waiting func(since time.Duration) error
}

// Peer is a running etcd peer.
type Peer struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	cfg    PeerConfig
	log    *slog.Logger
	muted  *atomic.Bool
	room   *space
	stop   context.CancelFunc // of the loops
	wg     sync.WaitGroup
}

const (
	peerReady   = 20 * time.Second // of a peer that waits for nobody
	waitingStep = time.Second
)

// HasPeer reports whether a directory holds an etcd peer.
func HasPeer(dataDir string) bool {
	_, err := os.Stat(filepath.Join(dataDir, "member", "wal"))
	return err == nil
}

// StartPeer starts etcd and returns when it serves, for which more than half of
// its voters must be there.
func StartPeer(ctx context.Context, cfg PeerConfig) (*Peer, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("named: %w", err)
	}
	if err := checkSpace(cfg.DataDir); err != nil {
		return nil, err
	}
	if cfg.Quota <= 0 {
		cfg.Quota = 4 << 30
	}
	p := &Peer{log: cfg.Logger, muted: new(atomic.Bool), room: newSpace(cfg.DataDir), cfg: cfg}
	c, err := p.config()
	if err != nil {
		return nil, err
	}
	if cfg.Mesh != nil {
		if err := cfg.Mesh.at(); err != nil {
			return nil, err
		}
		if err := cfg.Mesh.reach(cfg.Members); err != nil {
			return nil, err
		}
	}
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("named: starting etcd on %s (if the directory is damaged, move it away: it holds the realms' records): %w", cfg.DataDir, err)
	}
	p.etcd = e
	run, stop := context.WithCancel(context.Background())
	p.stop = stop
	if cfg.Mesh != nil {
		p.wg.Go(func() { p.meshLoop(run) })
	}
	if err := p.await(ctx); err != nil {
		p.muted.Store(true)
		stop()
		p.wg.Wait()
		e.Server.Stop() // before Close, which waits for what waits for etcd to be ready
		e.Close()
		return nil, err
	}
	p.client = v3client.New(e.Server)
	p.room.reserve()
	p.client.KV = p.Guard(p.client.KV)
	p.wg.Go(func() { p.compactLoop(run, cfg.Quota, compactEvery) })
	return p, nil
}

// config is etcd's own.
func (p *Peer) config() (*embed.Config, error) {
	cfg := p.cfg
	c := embed.NewConfig()
	c.Name = cfg.Name
	c.Dir = cfg.DataDir
	// A peer's listener is at the URL's host, a client's at host and path.
	socket := func(name string, host bool) ([]url.URL, error) {
		path := filepath.Join(cfg.RunDir, name)
		if len(path) > 100 {
			return nil, fmt.Errorf("named: the run directory's path is too long for a Unix socket: %s", path)
		}
		os.Remove(path) // of a run that was killed; the instance's lock is ours
		if host {
			return []url.URL{{Scheme: "unix", Host: path}}, nil
		}
		return []url.URL{{Scheme: "unix", Path: path}}, nil
	}
	var err error
	if c.ListenPeerUrls, err = socket("etcd-peer", true); err != nil {
		return nil, err
	}
	if c.ListenClientUrls, err = socket("etcd", false); err != nil {
		return nil, err
	}
	c.AdvertiseClientUrls = c.ListenClientUrls
	self, err := url.Parse(peerURL(cfg.Name))
	if err != nil {
		return nil, fmt.Errorf("named: %w", err)
	}
	c.AdvertisePeerUrls = []url.URL{*self}
	members := cfg.Members
	if len(members) == 0 {
		members = []string{cfg.Name}
	}
	var first []string
	for _, n := range members {
		first = append(first, n+"="+peerURL(n))
	}
	c.InitialCluster = strings.Join(first, ",")
	if cfg.Token != "" {
		c.InitialClusterToken = cfg.Token
	}
	if cfg.Existing {
		c.ClusterState = embed.ClusterStateFlagExisting
	}
	c.MaxLearners = maxLearners
	// etcd's own check lets nobody in while a voter is away, and so no successor
	// either. sched/voters, which asks for all changes, does better.
	c.StrictReconfigCheck = false
	c.EnableGRPCGateway = false
	// etcd's own pace: slower ticks save little and cost a second at each start.
	tick := cfg.Tick
	if tick <= 0 {
		tick = 100 * time.Millisecond
	}
	c.TickMs, c.ElectionMs = uint(tick.Milliseconds()), 10*uint(tick.Milliseconds())
	c.AutoCompactionMode, c.AutoCompactionRetention = "periodic", "5m"
	c.QuotaBackendBytes = cfg.Quota
	// An entry may hold 1.5 MiB. Those between two snapshots are read at a start,
	// those for followers that lag are in memory all the time: a tenant who writes
	// large files must not fill it.
	c.SnapshotCount, c.SnapshotCatchUpEntries = snapshotCount, 500
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(p.zap())
	return c, nil
}

// snapshotCount is how many changes are between two snapshots.
const snapshotCount = 2500

// maxLearners is what two more voters and a replacement need.
const maxLearners = 4

// await returns when etcd serves.
func (p *Peer) await(ctx context.Context) error {
	begin := time.Now()
	tick := time.NewTicker(waitingStep)
	defer tick.Stop()
	for {
		select {
		case <-p.etcd.Server.ReadyNotify():
			return nil
		case err := <-p.etcd.Err():
			select {
			case <-p.etcd.Server.StoppingNotify(): // then the error is a consequence
				return ErrPeerRemoved
			default:
			}
			return fmt.Errorf("named: etcd: %w", err)
		case <-p.etcd.Server.StopNotify():
			return ErrPeerRemoved
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if p.cfg.Waiting != nil {
				if err := p.cfg.Waiting(time.Since(begin)); err != nil {
					return err
				}
			} else if time.Since(begin) > peerReady {
				return fmt.Errorf("named: etcd was not ready after %v (is the disk of %s very slow?)", peerReady, p.cfg.DataDir)
			}
		}
	}
}

// ErrPeerRemoved says that the others have removed this peer; its directory is
// of no use any more.
var ErrPeerRemoved = fmt.Errorf("named: the other etcd peers have removed this one")

// meshLoop keeps ways to whoever is a member.
func (p *Peer) meshLoop(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var nodes []string
		for _, m := range p.etcd.Server.Cluster().Members() {
			for _, u := range m.PeerURLs {
				if n, ok := nodeOf(u); ok {
					nodes = append(nodes, n)
				}
			}
		}
		if len(nodes) > 0 { // else it has not read them yet
			if err := p.cfg.Mesh.reach(nodes); err != nil && ctx.Err() == nil {
				p.log.Warn("ways to the other etcd peers", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Client talks to the peer inside the process.
func (p *Peer) Client() *clientv3.Client { return p.client }

// Guard is kv that writes only while this peer's disk has room.
func (p *Peer) Guard(kv clientv3.KV) clientv3.KV { return guarded{kv, p.room} }

// Gone is closed when etcd has stopped without being asked: the others have
// removed this peer.
func (p *Peer) Gone() <-chan struct{} { return p.etcd.Server.StopNotify() }

// ServePeer connects another node's peer with the one that has its sockets in
// runDir, which may still be starting, until ctx ends.
func ServePeer(ctx context.Context, c net.Conn, runDir string) error {
	return serveAt(ctx, c, filepath.Join(runDir, "etcd-peer"))
}

// ServeClient connects another node's client likewise.
func ServeClient(ctx context.Context, c net.Conn, runDir string) error {
	return serveAt(ctx, c, ClientSocket(runDir))
}

// ClientSocket is where a peer's clients connect.
func ClientSocket(runDir string) string { return filepath.Join(runDir, "etcd") }

func serveAt(ctx context.Context, c net.Conn, path string) error {
	defer c.Close()
	var d net.Dialer
	e, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	splice.Join(ctx, c, e)
	return nil
}

// Close stops the peer.
func (p *Peer) Close() error {
	p.muted.Store(true)
	p.stop()
	p.wg.Wait()
	p.client.Close()
	p.etcd.Close()
	return nil
}
