package roles

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"sigmaos/api"
	"sigmaos/naming/named"
	"sigmaos/net/port"
)

// The services by which etcd's clients and peers reach a peer on another node.
const (
	etcdALPN     = "sigma-etcd/1"
	etcdPeerALPN = "sigma-etcd-peer/1"
)

func (s *System) etcdDir() string { return filepath.Join(s.Config.DataDir, "etcd") }

// firstPeers is left for a node that starts as one of several peers of a new
// cluster; it is of use until the peer has been started once.
type firstPeers struct {
	Members []string          `json:"members"`
	Token   string            `json:"token"`
	Record  json.RawMessage   `json:"record"` // of the cluster: named.Cluster
	Nodes   []named.FirstNode `json:"nodes"`
}

func (s *System) firstPath() string { return filepath.Join(s.Config.DataDir, "identity", "first.json") }

func (s *System) readFirst() (f firstPeers, ok bool) {
	b, err := os.ReadFile(s.firstPath())
	return f, err == nil && json.Unmarshal(b, &f) == nil && len(f.Members) > 0
}

// startEtcd makes the cluster's record reachable: through a peer of this node,
// or another one's.
func (s *System) startEtcd(ctx context.Context, founder bool, undo *undoStack) error {
	if s.Port != nil {
		if err := s.meshEtcd(undo); err != nil {
			return err
		}
	}
	if s.offersNamed() {
		cfg := named.PeerConfig{}
		f, first := s.readFirst()
		switch {
		case named.HasPeer(s.etcdDir()):
		case first:
			cfg.Members, cfg.Token = f.Members, f.Token
		case founder:
			cfg.Members, cfg.Token = []string{s.Config.Node}, crand.Text()
		}
		if named.HasPeer(s.etcdDir()) || len(cfg.Members) > 0 {
			if err := s.hostPeer(ctx, cfg); err != nil {
				return err
			}
		}
		undo.add(s.dropPeer)
	}
	if s.Port == nil {
		p := s.hosting.Load()
		if p == nil {
			return errors.New("the other etcd peers have removed this node's; give it --listen and --join to follow them")
		}
		s.etcd = p.Client()
		return nil
	}
	if err := s.awaitEtcd(ctx); err != nil {
		return err
	}
	c, err := s.etcdClient()
	if err != nil {
		return err
	}
	s.etcd = c
	undo.add(c.Close)
	return nil
}

// meshEtcd carries what etcd's peers say to each other.
func (s *System) meshEtcd(undo *undoStack) error {
	s.mesh = named.NewMesh(s.Config.Node, s.Config.RunDir, s.dialPeer, s.Log.With("role", "named"))
	undo.add(s.mesh.Close)
	if !s.offersNamed() {
		return nil
	}
	stop, err := s.Port.Handle(etcdPeerALPN, func(ctx context.Context, c *port.Conn) {
		if err := named.ServePeer(ctx, c, s.Config.RunDir); err != nil {
			s.Log.Debug("etcd's peer", "of", c.Peer().Name, "err", err)
		}
	})
	if err == nil {
		undo.add(func() error { stop(); return nil })
	}
	return err
}

// hostPeer starts this node's peer, with what cfg says of a first start. A peer
// that the others have removed is put aside: that is no error, the node goes on
// without.
func (s *System) hostPeer(ctx context.Context, cfg named.PeerConfig) error {
	cfg.Name, cfg.DataDir, cfg.RunDir = s.Config.Node, s.etcdDir(), s.Config.RunDir
	cfg.Logger = s.Log.With("role", "named")
	if s.Port != nil {
		cfg.Mesh = s.mesh
		cfg.Waiting = func(since time.Duration) error {
			if s.expelled.Load() {
				return s.removedError()
			}
			if since%(10*time.Second) < time.Second {
				s.Log.Warn("etcd waits for more than half of its peers; start the other nodes with the role named", "since", since.Round(time.Second))
			}
			return nil
		}
	}
	p, err := named.StartPeer(ctx, cfg)
	if errors.Is(err, named.ErrPeerRemoved) {
		s.Log.Warn("while this node was away another one took over its etcd peer; this one follows anew")
		return s.putPeerAside()
	}
	if err != nil {
		return err
	}
	if err := p.Announce(ctx); err != nil {
		s.Log.Warn("etcd's peer cannot tell where it is", "err", err)
	}
	s.hosting.Store(p)
	return nil
}

// putPeerAside makes room for a new peer, and keeps the last one's directory.
func (s *System) putPeerAside() error {
	old := s.etcdDir() + "-removed"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	return os.Rename(s.etcdDir(), old)
}

// dropPeer stops this node's peer.
func (s *System) dropPeer() error {
	if p := s.hosting.Swap(nil); p != nil {
		return p.Close()
	}
	return nil
}

// removedError is for a node that comes back after node rm.
func (s *System) removedError() error {
	return api.E(api.Denied, "start", s.Config.Node, "this node was removed from its cluster (sigmactl node rm); to use the machine again, delete %s and join with a token (sigmactl cluster token)", s.Config.DataDir)
}

// awaitEtcd returns when some node with an etcd peer lets us in.
func (s *System) awaitEtcd(ctx context.Context) error {
	begin, said := time.Now(), time.Now()
	for {
		c, err := s.dialEtcd(ctx)
		if err == nil {
			return c.Close()
		}
		if errors.Is(err, port.ErrRemoved) {
			return s.removedError()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no node with etcd answers: %w", err)
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			s.Log.Warn("no node with etcd answers yet", "since", time.Since(begin).Round(time.Second), "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// etcdPatience: when the peer that was used is lost another one is asked at once.
var etcdPatience = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// etcdClient is a client of this node's peer where it has a vote, else of
// whichever node's answers.
func (s *System) etcdClient() (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"http://etcd.sigma:1"}, DialTimeout: 5 * time.Second, DialKeepAliveTime: 3 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		Logger: zap.NewNop(), MaxCallRecvMsgSize: 64 << 20,
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.dialEtcd(ctx) }),
			grpc.WithConnectParams(etcdPatience),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("etcd's client: %w", err)
	}
	if p := s.hosting.Load(); p != nil {
		c.KV = p.Guard(c.KV)
	}
	return c, nil
}

// dialEtcd tries this node's own peer, the nodes that are known to have one, then
// those that may.
func (s *System) dialEtcd(ctx context.Context) (net.Conn, error) {
	if p := s.hosting.Load(); p != nil && p.Useful() {
		c, err := new(net.Dialer).DialContext(ctx, "unix", named.ClientSocket(s.Config.RunDir))
		if err == nil {
			return s.untilUseless(c), nil
		}
	}
	err := fmt.Errorf("no node with the role named is known")
	for _, p := range s.places("") {
		var c net.Conn
		dctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		c, err = s.Port.Dial(dctx, p.addr, p.name, etcdALPN)
		cancel()
		if err == nil || errors.Is(err, port.ErrRemoved) {
			return c, err
		}
	}
	return nil, err
}

// dialPeer reaches the etcd peer of another node.
func (s *System) dialPeer(ctx context.Context, node string) (net.Conn, error) {
	err := fmt.Errorf("node %s is not known", node)
	for _, p := range s.places(node) {
		var c net.Conn
		dctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		c, err = s.Port.Dial(dctx, p.addr, node, etcdPeerALPN)
		cancel()
		if errors.Is(err, port.ErrRemoved) {
			s.expelled.Store(true)
		}
		if err == nil || errors.Is(err, port.ErrRemoved) {
			return c, err
		}
	}
	return nil, err
}

// address is where a node may be; without a name, where some node may be.
type address struct{ name, addr string }

// places lists where the node may be, or, of "", where some node with etcd may
// be; the best first.
func (s *System) places(node string) (list []address) {
	if g := s.meeting.Load(); g != nil {
		for _, m := range g.Members() {
			if m.Name != s.Config.Node && (m.Name == node || node == "" && slices.Contains(m.Roles, "named")) {
				list = append(list, address{m.Name, m.Addr.String()})
			}
		}
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	k := s.known.Load()
	if k == nil {
		return list
	}
	for _, x := range k.Seeds {
		p := address{x.Name, x.Addr}
		if (node == "" || x.Name == "" || x.Name == node) && x.Name != s.Config.Node && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}
