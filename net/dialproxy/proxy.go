package dialproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/control"
	"sigmaos/net/port/quiet"
)

// Nodes is how a proxy reaches those of other nodes.
type Nodes interface {
	// Address of a live node's port, and its boot.
	Address(node uint16) (addr string, boot uint32, ok bool)
	// Number of a live node by its name.
	Number(name string) (node uint16, ok bool)
	// Name of a node.
	Name(node uint16) string
	// Call asks the other node's sigmad over the mTLS link.
	Call(ctx context.Context, node uint16, method string, req []byte) ([]byte, error)
}

// Service is a part of σOS that callers connect to like an endpoint. It owns
// conn and returns when it is done with it; ctx ends with the proxy.
type Service func(ctx context.Context, conn net.Conn, c api.Caller)

// Locator says which node has a service for a realm; ok is false where every
// node has its own.
type Locator func(ctx context.Context, realm, service string) (node uint16, err error)

// Config of a Proxy.
type Config struct {
	Node     uint16
	Name     string // of the node
	Boot     uint32
	Nodes    Nodes // nil: this node is alone
	External External
	Limits   Limits
	Locate   map[string]Locator // services that are not on every node
	// Resolve gives what a path leads to: the address that an operator published there,
	// or the token of an endpoint link. Of several each does, and they are tried in
	// turn. nil until the realm has names.
	Resolve func(ctx context.Context, c api.Caller, path string) ([]api.Target, error)
	// Ended is told of the end of a proc that has used a service; nil is nobody.
	Ended func(realm string, proc api.ProcID)
	// Outside is told of a connection that was made with the world outside.
	Outside func(c api.Caller, target, address string)
	// Priority of a socket by the class of the proc that sends on it; 0 leaves it.
	Priority [2]int // api.BE, api.LC
	Logger   *slog.Logger
}

// Proxy connects the procs of one node.
type Proxy struct {
	cfg  Config
	log  *slog.Logger
	loud *slog.Logger // of what strangers can make happen
	keys *keys
	ctx  context.Context // of services
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	endpoints map[api.EndpointID]*endpoint
	procs     map[api.ProcID]map[*endpoint]bool
	realms    map[string]*quota
	services  map[string]Service
	users     map[api.ProcID]string // procs that used a service, and their realms

	pairs *pairs
	step  time.Duration // stepTime
	sweep int           // how many realms before some are forgotten

	// Of all realms, against the limits of the node.
	pending, connecting, serving atomic.Int64
}

// New returns a proxy without endpoints.
func New(cfg Config) *Proxy {
	cfg.Limits.fill()
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{
		cfg: cfg, log: cfg.Logger, loud: quiet.New(cfg.Logger, clock.Real()), keys: newKeys(), ctx: ctx, stop: stop, step: stepTime, sweep: sweepAt,
		endpoints: make(map[api.EndpointID]*endpoint), procs: make(map[api.ProcID]map[*endpoint]bool),
		realms: make(map[string]*quota), services: make(map[string]Service), users: make(map[api.ProcID]string),
		pairs: newPairs(),
	}
	p.wg.Go(func() { p.pairs.fill(ctx) })
	return p
}

// Close ends all endpoints and services; established connections go on.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	var all []*endpoint
	for _, e := range p.endpoints {
		all = append(all, e)
	}
	p.mu.Unlock()
	for _, e := range all {
		p.closeEndpoint(e)
	}
	p.stop()
	p.wg.Wait()
}

// Serve offers a service on this node.
func (p *Proxy) Serve(name string, s Service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.services[name] = s
}

// refuseAfter is when every refusal is told: longer than a round trip to
// another node, so that none of its reasons can be told from another by time.
const refuseAfter = 4 * time.Millisecond

var errRefused = api.E(api.NotFound, "dial", "", "connection refused: the realm has no such endpoint, or it was closed")

// Dial connects the caller with t.
func (p *Proxy) Dial(ctx context.Context, c api.Caller, t api.Target) (control.Passed, error) {
	begin := time.Now()
	pass, err := p.dial(ctx, c, t)
	if errors.Is(err, errRefused) {
		select {
		case <-time.After(refuseAfter - time.Since(begin)):
		case <-ctx.Done():
		}
	}
	return pass, err
}

// DialNow is Dial where the endpoint is one of this node and takes connections;
// in every other case ok is false, and Dial says what is to be said.
func (p *Proxy) DialNow(c api.Caller, t api.Target) (pass control.Passed, ok bool) {
	node, boot, id, ok := t.Endpoint.Parse()
	if !ok || node != p.cfg.Node || boot != p.cfg.Boot || c.Realm == "" || oneTarget(t) != nil || p.lookup(c.Realm, id) == nil {
		return control.Passed{FD: -1}, false
	}
	if _, err := p.mayDial(c.Realm); err != nil {
		return control.Passed{FD: -1}, false
	}
	pass, err := p.dialLocal(c, id, t.Endpoint)
	return pass, err == nil
}

func (p *Proxy) dial(ctx context.Context, c api.Caller, t api.Target) (control.Passed, error) {
	none := control.Passed{FD: -1}
	if c.Realm == "" {
		return none, api.E(api.Invalid, "dial", "", "no realm chosen; use --realm or SIGMA_REALM")
	}
	if err := oneTarget(t); err != nil {
		return none, err
	}
	q, err := p.mayDial(c.Realm)
	if err != nil {
		return none, err
	}
	node, boot, id, ok := t.Endpoint.Parse()
	if ok && node == p.cfg.Node {
		if boot != p.cfg.Boot {
			return none, errRefused
		}
		return p.dialLocal(c, id, t.Endpoint)
	}
	done, err := p.hold(q)
	if err != nil {
		return none, err
	}
	defer done()
	switch {
	case t.External != "":
		return p.dialExternal(ctx, c, t.External, false)
	case t.Service != "":
		return p.dialService(ctx, c, t, q)
	case t.Path != "":
		return p.dialPath(ctx, c, t.Path)
	case !ok || p.cfg.Nodes == nil:
		return none, errRefused
	}
	return p.dialNode(ctx, c, node, boot, setup{endpoint: id}, t.Endpoint)
}

// oneTarget holds a target to one thing to dial.
func oneTarget(t api.Target) error {
	n := 0
	for _, v := range []string{string(t.Endpoint), t.External, t.Path, t.Service} {
		if v != "" {
			n++
		}
	}
	if n > 1 || t.Node != "" && t.Service == "" {
		return api.E(api.Invalid, "dial", "", "name one thing to dial: an endpoint, an external address, a path or a service")
	}
	return nil
}

func (p *Proxy) dialPath(ctx context.Context, c api.Caller, path string) (control.Passed, error) {
	none := control.Passed{FD: -1}
	if p.cfg.Resolve == nil {
		return none, api.E(api.Unsupported, "dial", path, "this node has no names")
	}
	rctx, cancel := context.WithTimeout(ctx, 4*p.step) // servers on the way may be anybody's
	list, err := p.cfg.Resolve(rctx, c, path)
	if err != nil && rctx.Err() != nil && ctx.Err() == nil {
		err = api.E(api.Unavailable, "dial", path, "a server on the way did not answer within %v", 4*p.step)
	}
	cancel()
	if err == nil && len(list) == 0 {
		err = errRefused
	}
	for _, t := range list {
		var out control.Passed
		if t.External != "" { // an operator wrote it: private addresses are meant
			out, err = p.dialExternal(ctx, c, t.External, true)
		} else {
			t.Path = ""
			out, err = p.dial(ctx, c, t)
		}
		if err == nil || ctx.Err() != nil {
			return out, err
		}
	}
	return none, err
}

// outOf says what a failed system call means to a caller.
func outOf(err error) error {
	if isOut(err) {
		return api.E(api.Busy, "dial", "", "the node is out of descriptors, ports or memory for connections (%v); try again", err)
	}
	return api.E(api.Internal, "dial", "", "%v", err)
}

// isOut reports that something of the machine is used up.
func isOut(err error) bool {
	for _, e := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL, unix.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// dialLocal connects with an endpoint of this node.
func (p *Proxy) dialLocal(c api.Caller, id api.EndpointID, ep api.Endpoint) (control.Passed, error) {
	e := p.lookup(c.Realm, id)
	if e == nil {
		return control.Passed{FD: -1}, errRefused
	}
	a, b, err := p.pairs.take()
	if err != nil {
		return control.Passed{FD: -1}, err
	}
	if err := e.offer(control.Passed{FD: b, Peer: peerOf(c, ep)}); err != nil {
		unix.Close(a)
		unix.Close(b)
		return control.Passed{FD: -1}, err
	}
	return control.Passed{FD: a, Peer: e.peer()}, nil
}

// peerOf is how a listener sees a caller.
func peerOf(c api.Caller, ep api.Endpoint) api.Peer {
	return api.Peer{Realm: c.Realm, Proc: c.Proc, User: c.User, Node: c.Node, Address: c.Address, Endpoint: ep}
}
