package roles

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/naming/named"
	"sigmaos/net/gossip"
	"sigmaos/net/pki"
	"sigmaos/net/port"
	"sigmaos/net/realmtoken"
)

// wireVersion is that of the formats between nodes.
const wireVersion = 1

// startCluster makes this node a member: it joins where it was told to, learns
// the cluster's record and its own number and boot, has a certificate, and
// knows the others afterwards.
func startCluster(ctx context.Context, s *System) (_ func(context.Context) error, err error) {
	var undo undoStack
	defer func() {
		if err != nil {
			undo.run()
		}
	}()
	s.Identity, err = pki.LoadOrCreate(filepath.Join(s.Config.DataDir, "identity"), clock.Real())
	if err != nil {
		return nil, err
	}
	founder, err := s.founds()
	if err != nil {
		return nil, err
	}
	var known shared
	if !founder {
		if known, err = s.join(ctx); err != nil {
			return nil, err
		}
	}
	s.known.Store(&known)
	if s.Config.Listen != "" {
		s.Port, err = port.Listen(port.Config{Addr: s.Config.Listen, Identity: s.Identity, Logger: s.Log.With("role", "port"), Lost: s.fail})
		if err != nil {
			return nil, err
		}
		undo.add(s.Port.Close)
	}
	if err := s.startEtcd(ctx, founder, &undo); err != nil {
		return nil, err
	}
	if s.record, err = named.OpenCluster(ctx, s.etcd, s.firstRecord); err != nil {
		return nil, err
	}
	s.clusterID = s.record.ID
	if err := s.checkRemoved(ctx); err != nil {
		return nil, err
	}
	if f, ok := s.readFirst(); ok {
		if err := named.FirstNodes(ctx, s.etcd, f.Nodes); err != nil {
			return nil, err
		}
	}
	if s.nodeNum, s.boot, err = named.Boot(ctx, s.etcd, s.Config.Node); err != nil {
		return nil, err
	}
	if s.offersNamed() {
		if err := s.certify(ctx); err != nil {
			return nil, err
		}
		os.Remove(s.firstPath())
	}
	if s.tokens, err = realmtoken.NewKeys(s.record.TokenKeys...); err != nil {
		return nil, err
	}
	if s.Port != nil {
		if err := s.meet(known, &undo); err != nil {
			return nil, err
		}
	}
	kctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.followKeys(kctx)
	}()
	undo.add(func() error { stop(); <-done; return nil })
	return func(context.Context) error { return undo.run() }, nil
}

// founds reports whether this node makes a cluster of its own, or is alone in
// it.
func (s *System) founds() (bool, error) {
	_, member := s.Identity.Peer()
	_, err := os.Stat(s.sharedPath())
	member = member && err == nil
	switch {
	case !s.Config.Bootstrap:
	case len(s.Config.Join) > 0:
		return false, api.E(api.Invalid, "start", s.Config.Node, "--bootstrap makes a new cluster and --join joins one; give one of them")
	case !s.offersNamed():
		return false, api.E(api.Invalid, "start", s.Config.Node, "--bootstrap needs the role named, for the first node keeps the cluster's record")
	case member || named.HasPeer(s.etcdDir()):
		return false, api.E(api.Exists, "start", s.Config.Node, "%s belongs to a cluster already: --bootstrap is for the very first start of its first node. Start it without --bootstrap; for a new cluster give it another --data-dir", s.Config.DataDir)
	}
	return !member && s.offersNamed() && (len(s.Config.Join) == 0 || named.HasPeer(s.etcdDir())), nil
}

// firstRecord is the record that a new cluster begins with.
func (s *System) firstRecord() (named.Cluster, error) {
	f, ok := s.readFirst()
	if !ok {
		return newCluster()
	}
	var c named.Cluster
	err := json.Unmarshal(f.Record, &c)
	return c, err
}

// newCluster makes the keys of a cluster that is not there yet.
func newCluster() (named.Cluster, error) { return newKeys(pki.NewCluster()) }

func newSecret() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

// shared is what a node must know before it can ask for the record: kept beside
// its identity.
type shared struct {
	GossipKeys [][]byte      `json:"gossip_keys"`
	Seeds      []gossip.Seed `json:"seeds"`
}

func (s *System) sharedPath() string {
	return filepath.Join(s.Config.DataDir, "identity", "shared.json")
}

func (s *System) saveShared(k shared) error {
	if err := k.write(s.Config.DataDir); err != nil {
		return err
	}
	s.known.Store(&k)
	return nil
}

// updateShared changes what is remembered, on disk too where it differs.
func (s *System) updateShared(change func(*shared)) error {
	s.sharing.Lock()
	defer s.sharing.Unlock()
	before := *s.known.Load()
	after := before
	change(&after)
	if reflect.DeepEqual(before, after) {
		return nil
	}
	return s.saveShared(after)
}

// rememberEvery is how often a node looks whether there is something new to
// remember of the others; maxSeeds how many it remembers.
const (
	rememberEvery = 2 * time.Second
	maxSeeds      = 64
)

// remember keeps where the other nodes are, for the next start, when no gossip
// tells yet.
func (s *System) remember(undo *undoStack) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(rememberEvery)
		defer tick.Stop()
		for {
			if err := s.updateShared(func(k *shared) { k.Seeds = s.seeds(k.Seeds) }); err != nil {
				s.Log.Warn("remembering the other nodes", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	undo.add(func() error { stop(); <-done; return nil })
}

// seeds are the nodes alive, and those known before that may come back.
func (s *System) seeds(before []gossip.Seed) (out []gossip.Seed) {
	have := make(map[string]bool)
	add := func(x gossip.Seed) {
		if x.Name != s.Config.Node && !have[x.Name] && !have[x.Addr] && len(out) < maxSeeds && !s.removed.named(x.Name) {
			have[x.Name], have[x.Addr] = x.Name != "", true
			out = append(out, x)
		}
	}
	for _, m := range s.Gossip.Members() {
		if offers(m.Roles, "named") {
			add(seedOf(m))
		}
	}
	for _, m := range s.Gossip.Members() {
		add(seedOf(m))
	}
	for _, x := range before {
		add(x)
	}
	return out
}

// join asks a node of the cluster to admit this one, the first time; after that
// the certificate is enough.
func (s *System) join(ctx context.Context) (k shared, err error) {
	if b, err := os.ReadFile(s.sharedPath()); err == nil {
		if p, ok := s.Identity.Peer(); ok && json.Unmarshal(b, &k) == nil {
			if p.Name != s.Config.Node {
				return k, fmt.Errorf("this directory is that of node %s; start it with --node %s, or use another --data-dir", p.Name, p.Name)
			}
			for _, a := range s.Config.Join {
				k.Seeds = append(k.Seeds, gossip.Seed{Addr: a})
			}
			return k, nil
		}
	}
	if len(s.Config.Join) == 0 {
		return k, errors.New("this node hosts no etcd and joins nobody: give it --join HOST:PORT and --token-file F (sigmactl cluster token writes one), or the role named")
	}
	if s.Config.Listen == "" {
		return k, errors.New("a node that joins must be reachable: give it --listen HOST:PORT")
	}
	token, err := pki.ReadToken(s.Config.TokenFile)
	if err != nil {
		return k, err
	}
	for _, addr := range s.Config.Join {
		var a port.JoinAnswer
		if a, err = port.Join(ctx, addr, token, s.Identity, s.Config.Node, wireVersion); err != nil {
			continue
		}
		if err := json.Unmarshal(a.Extra, &k); err != nil {
			return k, fmt.Errorf("joining %s: its answer is damaged: %w", addr, err)
		}
		k.Seeds = []gossip.Seed{{Addr: addr}}
		for _, m := range a.Members {
			k.Seeds = append(k.Seeds, gossip.Seed{Name: m.Name, Addr: m.Addr})
		}
		return k, s.saveShared(k)
	}
	return k, err
}

// meet finds the other nodes and lets them in.
func (s *System) meet(k shared, undo *undoStack) error {
	advertise, err := s.advertise()
	if err != nil {
		return err
	}
	seeds := k.Seeds
	for _, a := range s.Config.Join {
		seeds = append(seeds, gossip.Seed{Addr: a})
	}
	g, err := gossip.Start(gossip.Config{
		Port: s.Port, Advertise: advertise, Boot: s.boot, Secrets: s.record.GossipKeys, Seeds: seeds, Notice: s.Config.Notice(), Logger: s.Log.With("role", "gossip"),
		Info: gossip.Info{Roles: s.Config.Roles, Domain: s.Config.Domain, Version: shortVersion(s.Version), Size: gossip.Size{MCPU: s.Config.MCPU, Memory: s.Config.Memory}},
	})
	if err != nil {
		return err
	}
	s.Gossip = g
	s.meeting.Store(g)
	undo.add(g.Close)
	undo.add(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return g.Leave(ctx)
	})
	if err := s.link(undo); err != nil {
		return err
	}
	if err := s.updateShared(func(k *shared) { k.GossipKeys = s.record.GossipKeys }); err != nil {
		return err
	}
	s.followRemoved(undo)
	s.remember(undo)
	if !s.offersNamed() {
		return nil
	}
	stop, err := s.Port.ServeJoin(port.JoinConfig{Admitter: admitter{s}, Tokens: s.joinTokens, Version: wireVersion})
	if err == nil {
		undo.add(func() error { stop(); return nil })
	}
	return err
}

func shortVersion(v string) string {
	if len(v) > 40 {
		v = v[:40]
	}
	return v
}

// advertise is where others reach this node's port.
func (s *System) advertise() (netip.AddrPort, error) {
	own := s.Port.Addr().AddrPort()
	if s.Config.Advertise == "" {
		if own.Addr().IsUnspecified() {
			a, err := outward()
			if err != nil {
				return own, err
			}
			return netip.AddrPortFrom(a, own.Port()), nil
		}
		return own, nil
	}
	text := s.Config.Advertise
	if !strings.Contains(text, ":") {
		text = fmt.Sprintf("%s:%d", text, own.Port())
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return own, fmt.Errorf("config: advertise is %q; want an address, or ADDR:PORT", s.Config.Advertise)
	}
	return a, nil
}

// outward is this machine's address on its first network.
func outward() (netip.Addr, error) {
	for _, a := range ownAddresses() {
		if a.IsGlobalUnicast() {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("this machine has no address that others could reach; say one with --advertise")
}

// admitter lets new nodes in.
type admitter struct{ *System }

func (a admitter) Admit(ctx context.Context, r port.JoinRequest) (port.JoinAnswer, error) {
	rec, err := named.OpenCluster(ctx, a.etcd, newCluster)
	if err != nil {
		return port.JoinAnswer{}, err
	}
	if r.Cluster != "" && r.Cluster != rec.ID {
		return port.JoinAnswer{}, api.E(api.Conflict, "join", r.Name, "the node belongs to cluster %s; give it an empty --data-dir", r.Cluster)
	}
	key, err := pki.CheckCSR(r.CSR)
	if err != nil {
		return port.JoinAnswer{}, api.E(api.Invalid, "join", r.Name, "%v", err)
	}
	if err := named.ClaimName(ctx, a.etcd, r.Name, key); err != nil {
		return port.JoinAnswer{}, err
	}
	num, _, err := named.Boot(ctx, a.etcd, r.Name)
	if err != nil {
		return port.JoinAnswer{}, err
	}
	list, trust, err := authorities(rec)
	if err != nil {
		return port.JoinAnswer{}, err
	}
	chain, err := list[0].Sign(r.CSR, r.Name, num, time.Now())
	if err != nil {
		return port.JoinAnswer{}, err
	}
	extra, err := json.Marshal(shared{GossipKeys: rec.GossipKeys})
	if err != nil {
		return port.JoinAnswer{}, err
	}
	ans := port.JoinAnswer{Cluster: rec.ID, Number: num, Chain: chain, Trust: trust, Extra: extra}
	for _, m := range a.Gossip.Members() {
		ans.Members = append(ans.Members, port.Member{Name: m.Name, Number: m.Number, Addr: m.Addr.String()})
	}
	a.Log.Info("node admitted", "node", r.Name, "number", num, "from", r.From)
	return ans, nil
}

// joinTokens are those of this moment.
func (s *System) joinTokens(ctx context.Context) (out []pki.Token, err error) {
	rec, err := named.OpenCluster(ctx, s.etcd, newCluster)
	if err != nil {
		return nil, err
	}
	for _, text := range rec.JoinTokens {
		t, err := pki.ParseToken(text)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}
