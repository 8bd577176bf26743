package named

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// PeerConfig of an embedded etcd.
type PeerConfig struct {
	Name    string // of the node
	DataDir string
	RunDir  string // for its sockets
	Logger  *slog.Logger
	Tick    time.Duration // of raft; ten make an election; default 100 ms
	Quota   int64         // bytes of etcd's database; default 4 GiB
}

// Peer is a running etcd peer.
type Peer struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	log    *slog.Logger
	muted  *atomic.Bool
	stop   context.CancelFunc // of the compactor
	wg     sync.WaitGroup
}

const peerReady = 20 * time.Second

// StartPeer starts etcd and returns when it serves.
func StartPeer(ctx context.Context, cfg PeerConfig) (*Peer, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("named: %w", err)
	}
	if err := checkSpace(cfg.DataDir); err != nil {
		return nil, err
	}
	p := &Peer{log: cfg.Logger, muted: new(atomic.Bool)}
	if cfg.Quota <= 0 {
		cfg.Quota = 4 << 30
	}
	c := embed.NewConfig()
	c.Name = cfg.Name
	c.Dir = cfg.DataDir
	socket := func(name string) ([]url.URL, error) {
		path := filepath.Join(cfg.RunDir, name)
		if len(path) > 100 {
			return nil, fmt.Errorf("named: the run directory's path is too long for a Unix socket: %s", path)
		}
		os.Remove(path) // of a run that was killed; the instance's lock is ours
		return []url.URL{{Scheme: "unix", Path: path}}, nil
	}
	var err error
	if c.ListenPeerUrls, err = socket("etcd-peer"); err != nil {
		return nil, err
	}
	if c.ListenClientUrls, err = socket("etcd"); err != nil {
		return nil, err
	}
	c.AdvertisePeerUrls, c.AdvertiseClientUrls = c.ListenPeerUrls, c.ListenClientUrls
	c.InitialCluster = c.InitialClusterFromName(c.Name)
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
	c.SnapshotCount, c.SnapshotCatchUpEntries = 2500, 500
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(cfg.Logger, p.muted))
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("named: starting etcd on %s (if the directory is damaged, move it away: it holds the realms' records): %w", cfg.DataDir, err)
	}
	p.etcd = e
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		e.Close()
		return nil, fmt.Errorf("named: etcd: %w", err)
	case <-time.After(peerReady):
		e.Close()
		return nil, fmt.Errorf("named: etcd was not ready after %v (is the disk of %s very slow?)", peerReady, cfg.DataDir)
	case <-ctx.Done():
		e.Close()
		return nil, ctx.Err()
	}
	p.client = v3client.New(e.Server)
	room := newSpace(cfg.DataDir)
	room.reserve()
	p.client.KV = guarded{p.client.KV, room}
	run, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.wg.Go(func() { p.compactLoop(run, cfg.Quota, compactEvery) })
	return p, nil
}

// Client talks to the peer inside the process.
func (p *Peer) Client() *clientv3.Client { return p.client }

// Close stops the peer.
func (p *Peer) Close() error {
	p.muted.Store(true)
	p.stop()
	p.wg.Wait()
	p.client.Close()
	p.etcd.Close()
	return nil
}
