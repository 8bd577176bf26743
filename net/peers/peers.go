package peers

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/port"
	"sigmaos/net/rpc"
)

// ALPN is the name of the service on a node's port.
const ALPN = "sigma-rpc/1"

// Directory knows where nodes are. Gossip is one.
type Directory interface {
	// Resolve gives name and address (HOST:PORT) of a node that is alive.
	Resolve(node uint16) (name, addr string, ok bool)
	// OnLeft calls fn for every node that has left for good, one at a time, until
	// stop is called; when stop has returned, fn is not running.
	OnLeft(fn func(node uint16)) (stop func())
}

// Config of a node's links.
type Config struct {
	Port      *port.Port // stays the caller's; close it after the Peers
	Directory Directory
	// Server serves incoming links. Make it with the options that [Beats] gives,
	// and with all its methods, before Start.
	Server *rpc.Server
	// Refuses, if set, is told that a node's address has refused several connections
	// in a row, so that no sigmad is there, and that there is a link again. It must
	// not wait.
	Refuses func(node uint16, refuses bool)
	// Options of outgoing links; Beats is applied to them.
	Options rpc.Options
	Logger  *slog.Logger
	Clock   clock.Clock // of the pauses between attempts; default: the machine's

	DialTime           time.Duration // for one attempt; default 3 s
	RetryMin, RetryMax time.Duration // pauses between attempts; defaults 100 ms, 5 s
}

// Beats sets what a link between nodes needs of o where it is not set: a
// heartbeat of 0.5 s, 3 s of silence, and 3 s for the other side's first word.
func Beats(o rpc.Options) rpc.Options {
	o.Heartbeat = cmp.Or(o.Heartbeat, 500*time.Millisecond)
	o.Silence = cmp.Or(o.Silence, 6*o.Heartbeat)
	o.Handshake = cmp.Or(o.Handshake, o.Silence)
	return o
}

func (c *Config) fill() error {
	if c.Port == nil || c.Directory == nil || c.Server == nil || c.Logger == nil {
		return api.E(api.Internal, "peers", "", "Port, Directory, Server and Logger must be set")
	}
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	c.Options = Beats(c.Options)
	if c.Refuses == nil {
		c.Refuses = func(uint16, bool) {}
	}
	c.DialTime = cmp.Or(c.DialTime, 3*time.Second)
	c.RetryMin = cmp.Or(c.RetryMin, 100*time.Millisecond)
	c.RetryMax = cmp.Or(c.RetryMax, 5*time.Second)
	if c.DialTime < 0 || c.RetryMin < 0 || c.RetryMax < c.RetryMin {
		return api.E(api.Invalid, "peers", "", "DialTime %v, RetryMin %v, RetryMax %v: want them above 0, the last not below the one before", c.DialTime, c.RetryMin, c.RetryMax)
	}
	return nil
}

// Peers is this node's links. Close it.
type Peers struct {
	cfg        Config
	unregister func() // from the port
	unwatch    func() // from the directory

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // a goroutine for each link, and the serving of each incoming one

	mu       sync.Mutex
	closed   bool
	links    map[uint16]*link
	incoming map[uint16][]*guest
}

// Start serves incoming links and is ready to make others.
func Start(cfg Config) (*Peers, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	p := &Peers{cfg: cfg, links: make(map[uint16]*link), incoming: make(map[uint16][]*guest)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	var err error
	if p.unregister, err = cfg.Port.Handle(ALPN, p.serve); err != nil {
		p.cancel()
		return nil, err
	}
	p.unwatch = cfg.Directory.OnLeft(p.left)
	return p, nil
}

// Link returns the link to a node, which stays the Peers' own: nobody else
// closes it. When it breaks (Client.Done), ask again. The node's own number is
// as good as any.
func (p *Peers) Link(ctx context.Context, node uint16) (*rpc.Client, error) {
	l, err := p.linkOf(node)
	if err != nil {
		return nil, err
	}
	for {
		c, changed, err := l.get()
		if c != nil || err != nil {
			return c, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, l.waited(ctx)
		}
	}
}

// linkOf finds or begins the link to a node.
func (p *Peers) linkOf(node uint16) (*link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, unavailable(node, "", "this node is stopping")
	}
	l := p.links[node]
	if l == nil {
		l = newLink(p, node)
		p.links[node] = l
		p.wg.Add(1)
		go func() {
			defer p.wg.Done()
			l.run()
		}()
	}
	return l, nil
}

// forget takes out a link whose goroutine ends.
func (p *Peers) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.links[l.node] == l {
		delete(p.links, l.node)
	}
}

// left drops the links of a node that has gone. If somebody is there under the
// number again, the links are his, or will notice themselves that they are not.
func (p *Peers) left(node uint16) {
	if _, _, back := p.cfg.Directory.Resolve(node); back {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.links[node]; l != nil {
		l.cancel()
	}
	for _, g := range p.incoming[node] {
		g.cancel()
	}
}

// State is one outgoing link, for people.
type State struct {
	Node uint16
	Name string // as it was dialled last
	Addr string
	Up   bool
	Err  error // why not
}

// Links lists the outgoing links, by node.
func (p *Peers) Links() []State {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []State
	for _, l := range p.links {
		out = append(out, l.state())
	}
	slices.SortFunc(out, func(a, b State) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Close ends all links in both directions and waits for what was served on them.
func (p *Peers) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if first {
		p.unregister()
		p.unwatch()
		p.cancel()
	}
	p.wg.Wait()
	return nil
}
