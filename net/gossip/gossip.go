package gossip

import (
	"context"
	"log"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"sigmaos/api"
	"sigmaos/net/pki"
	"sigmaos/net/port/quiet"
)

// Gossip is this node's membership. Close it.
type Gossip struct {
	cfg   Config
	me    pki.Peer
	log   *slog.Logger // others can make it write
	muted atomic.Bool
	table *table
	list  *memberlist.Memberlist

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // loops and subscribers
	dirty  chan struct{}  // the info changed; holds one
	joined chan struct{}  // closed by the first contact

	goodbyes chan message // to be answered
	heard    chan string  // who has heard ours

	ringMu sync.Mutex // orders SetSecrets
	ring   *memberlist.Keyring

	stopMu sync.Mutex // of Leave and Close; held while they wait
	left   bool
	closed bool

	mu      sync.Mutex
	info    Info
	encoded []byte
	missing map[string]missing // members that failed; bounded by maxMissing
	reached map[string]string  // address of a seed's name when it was last asked
	contest time.Duration      // when another one last claimed this node's own place
	ended   bool               // no subscriber comes any more
}

// Start makes the node a member. It does not wait for others: seeds that do not
// answer are asked again, and [Gossip.Joined] tells of the first that did.
func Start(cfg Config) (*Gossip, error) {
	me, err := cfg.fill()
	if err != nil {
		return nil, err
	}
	g := &Gossip{
		cfg: cfg, me: me, log: quiet.New(cfg.Logger, cfg.Clock), table: newTable(cfg.Clock, cfg.Notice),
		dirty: make(chan struct{}, 1), joined: make(chan struct{}), missing: make(map[string]missing), reached: make(map[string]string),
	}
	g.goodbyes, g.heard = make(chan message, 64), make(chan string, 64)
	g.info = cfg.Info.clone()
	g.info.Number, g.info.Boot, g.info.Leaving = me.Number, cfg.Boot, false
	if g.encoded, err = g.info.encode(); err != nil {
		return nil, err
	}
	if _, err = decodeInfo(g.encoded); err != nil {
		return nil, err
	}
	ks, err := keys(cfg.Secrets, me.Cluster)
	if err != nil {
		return nil, err
	}
	if g.ring, err = memberlist.NewKeyring(ks, ks[0]); err != nil {
		return nil, api.E(api.Internal, "gossip", "", "%v", err)
	}
	t, err := newTransport(&g.cfg)
	if err != nil {
		return nil, err
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if g.list, err = memberlist.Create(g.listConfig(t)); err != nil {
		g.cancel()
		t.Shutdown()
		return nil, api.E(api.Unavailable, "gossip", "", "%v", err)
	}
	g.wg.Add(3)
	go g.answerGoodbyes()
	go g.tellChanges()
	go g.findOthers()
	return g, nil
}

func (g *Gossip) listConfig(t *transport) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	pace(c, g.cfg.Notice)
	d := (*delegate)(g)
	c.Name, c.Label = g.me.Name, "sigma "+g.me.Cluster // packets of other clusters are not even decrypted
	c.Transport = t
	c.Keyring = g.ring
	c.Delegate, c.Events, c.Alive, c.Conflict = d, d, d, d
	c.EnableCompression = false // what there is to say is short
	c.DNSConfigPath = ""
	c.Logger = log.New(logWriter{quiet.New(g.cfg.Logger, g.cfg.Clock), &g.muted}, "", 0)
	return c
}

// Members are the nodes alive, this one included, by number.
func (g *Gossip) Members() []Member { return g.table.members() }

// Lookup finds the living node of that number.
func (g *Gossip) Lookup(number uint16) (Member, bool) { return g.table.lookup(number) }

// Named finds the living node of that name.
func (g *Gossip) Named(name string) (Member, bool) { return g.table.byName(name) }

// Self is this node, whether others know of it or not.
func (g *Gossip) Self() Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Member{Name: g.me.Name, Addr: g.cfg.Advertise, Info: g.info.clone()}
}

// Joined is closed when another node has been reached for the first time; at
// once where there are no seeds.
func (g *Gossip) Joined() <-chan struct{} { return g.joined }
