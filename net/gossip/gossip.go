package gossip

import (
	"bytes"
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

	ringMu sync.Mutex // orders SetSecrets
	ring   *memberlist.Keyring

	stopMu sync.Mutex // of Leave and Close; held while they wait
	left   bool
	closed bool

	mu      sync.Mutex
	info    Info
	encoded []byte
	missing map[string]missing // members that failed; bounded by maxMissing
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
		dirty: make(chan struct{}, 1), joined: make(chan struct{}), missing: make(map[string]missing),
	}
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
	g.wg.Add(2)
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

func (g *Gossip) meta() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.encoded
}

// Update changes what the node says of itself; Number, Boot and Leaving stay.
// Changes that come faster than they are worth telling are told together.
func (g *Gossip) Update(fn func(*Info)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := g.info.clone()
	fn(&next)
	next.Number, next.Boot, next.Leaving = g.info.Number, g.info.Boot, g.info.Leaving
	return g.setLocked(next.clone())
}

func (g *Gossip) setLocked(next Info) error {
	b, err := next.encode()
	if err != nil {
		return err
	}
	if bytes.Equal(b, g.encoded) {
		return nil
	}
	g.info, g.encoded = next, b
	select {
	case g.dirty <- struct{}{}:
	default:
	}
	return nil
}

// tellChanges gossips the node's info after a change.
func (g *Gossip) tellChanges() {
	defer g.wg.Done()
	pause := time.NewTicker(g.cfg.Notice / 12)
	defer pause.Stop()
	for {
		select {
		case <-g.dirty:
		case <-g.ctx.Done():
			return
		}
		g.tell(time.Millisecond) // it goes out in the background
		select {
		case <-pause.C:
		case <-g.ctx.Done():
			return
		}
	}
}

// tell queues the info and waits at most limit until it has gone out.
func (g *Gossip) tell(limit time.Duration) {
	g.stopMu.Lock()
	defer g.stopMu.Unlock()
	if !g.left && !g.closed { // memberlist forgets itself some time after Leave
		g.list.UpdateNode(max(limit, time.Millisecond)) // 0 would be for ever; its only error is that time ran out
	}
}

// SetSecrets replaces the cluster's secrets. To rotate without a gap: first every
// node gets the new one behind the old one, then every node gets it in front,
// then every node gets it alone.
func (g *Gossip) SetSecrets(secrets [][]byte) error {
	ks, err := keys(secrets, g.me.Cluster)
	if err != nil {
		return err
	}
	g.ringMu.Lock()
	defer g.ringMu.Unlock()
	for _, k := range ks {
		if err := g.ring.AddKey(k); err != nil {
			return api.E(api.Internal, "gossip", "", "%v", err)
		}
	}
	if err := g.ring.UseKey(ks[0]); err != nil {
		return api.E(api.Internal, "gossip", "", "%v", err)
	}
	return trimRing(g.ring, ks)
}

// trimRing drops keys that are not wanted. memberlist reads the ring's slice
// without a lock, and RemoveKey moves what is behind the removed key; so keys are
// taken from the end alone, where nothing has to move, and put back if wanted.
func trimRing(ring *memberlist.Keyring, want [][]byte) error {
	wanted := func(k []byte) bool {
		for _, w := range want {
			if bytes.Equal(w, k) {
				return true
			}
		}
		return false
	}
	keep := 0
	held := ring.GetKeys()
	for keep < len(held) && wanted(held[keep]) {
		keep++
	}
	for i := len(held) - 1; i >= keep; i-- {
		if err := ring.RemoveKey(held[i]); err != nil {
			return api.E(api.Internal, "gossip", "", "%v", err)
		}
	}
	for _, k := range held[keep:] {
		if wanted(k) {
			if err := ring.AddKey(k); err != nil {
				return api.E(api.Internal, "gossip", "", "%v", err)
			}
		}
	}
	return nil
}

// Leave says goodbye, so that the others need not find out. It returns when that
// has gone out, or with the end of ctx; the node is no member any more in either
// case. Close comes next.
func (g *Gossip) Leave(ctx context.Context) error {
	limit := g.cfg.Notice
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at)/2)
	}
	g.mu.Lock()
	next := g.info.clone()
	next.Leaving = true
	err := g.setLocked(next)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	g.tell(min(limit, g.cfg.Notice/10))
	g.stopMu.Lock()
	defer g.stopMu.Unlock()
	if g.left || g.closed {
		return nil
	}
	g.left = true
	bye := goodbye{g.me.Name, g.cfg.Boot}
	for _, m := range g.Members() {
		if m.Name != g.me.Name && ctx.Err() == nil {
			g.list.SendToAddress(memberlist.Address{Addr: m.Addr.String(), Name: m.Name}, bye.encode()) // best effort: the info says it too
		}
	}
	g.table.leaving(bye)
	if err := g.list.Leave(max(limit, time.Millisecond)); err != nil {
		return api.E(api.Deadline, "gossip leave", g.me.Name, "the goodbye has not gone out; the others will find out")
	}
	return nil
}

// Close ends the membership without a word, and everything of it in this
// process.
func (g *Gossip) Close() error {
	g.stopMu.Lock()
	if g.closed {
		g.stopMu.Unlock()
		g.wg.Wait()
		return nil
	}
	g.closed = true
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.muted.Store(true)
	g.cancel()
	err := g.list.Shutdown()
	g.stopMu.Unlock()
	g.wg.Wait()
	return err
}
