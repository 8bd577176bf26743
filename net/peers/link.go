package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/net/port"
	"sigmaos/net/rpc"
)

// link is the one to one node. Its goroutine dials and dials again; get shows
// how it stands.
type link struct {
	p      *Peers
	node   uint16
	ctx    context.Context // ends when the node has left, or with the Peers
	cancel context.CancelFunc

	refusals int // attempts in a row that were refused; belongs to run

	mu         sync.Mutex
	name, addr string
	client     *rpc.Client   // while the link is up
	err        error         // while it is not: why, unless an attempt is under way
	last       error         // of the last attempt, for who waits for the next
	changed    chan struct{} // closed with the next change
}

func newLink(p *Peers, node uint16) *link {
	l := &link{p: p, node: node, changed: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(p.ctx)
	return l
}

func unavailable(node uint16, name, format string, args ...any) *api.Error {
	subject := fmt.Sprintf("node %d", node)
	if name != "" {
		subject = fmt.Sprintf("node %s (%d)", name, node)
	}
	return api.E(api.Unavailable, "link to", subject, format, args...)
}

// get returns the client, or why there is none, or what to wait for.
func (l *link) get() (*rpc.Client, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		select {
		case <-l.client.Done(): // its goroutine is about to see it
		default:
			return l.client, nil, nil
		}
	}
	return nil, l.changed, l.err
}

func (l *link) set(client *rpc.Client, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client, l.err = client, err
	if err != nil {
		l.last = err
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// waited is the error of a caller whose own time is over.
func (l *link) waited(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := unavailable(l.node, l.name, "no link within the caller's time")
	e.Kind = api.Deadline
	if errors.Is(ctx.Err(), context.Canceled) {
		e.Kind, e.Text = api.Canceled, "the caller gave up"
	}
	if l.last != nil {
		e.Text += "; the last attempt: " + api.AsError("", l.last).Text
	}
	return e
}

func (l *link) state() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{Node: l.node, Name: l.name, Addr: l.addr, Up: l.client != nil, Err: l.last}
}

// run keeps the link until the node cannot be found any more.
func (l *link) run() {
	defer l.cancel()
	pause := l.p.cfg.RetryMin
	for {
		name, addr, ok := l.p.cfg.Directory.Resolve(l.node)
		if !ok || l.ctx.Err() != nil {
			l.over()
			return
		}
		l.mu.Lock()
		l.name, l.addr = name, addr
		l.mu.Unlock()
		lasted, err := l.once(name, addr)
		if lasted || l.ctx.Err() != nil { // dial again at once, or not at all
			pause = l.p.cfg.RetryMin
			l.set(nil, nil)
			continue
		}
		l.set(nil, err)
		if l.sleep(pause + rand.N(pause/2+1)) {
			pause = min(2*pause, l.p.cfg.RetryMax)
			l.set(nil, nil) // an attempt is under way
		}
	}
}

// once dials and returns when the attempt has failed or the link has ended;
// lasted says that it held for a while.
func (l *link) once(name, addr string) (lasted bool, err error) {
	log := l.p.cfg.Logger.With("node", name, "number", l.node, "addr", addr)
	c, err := l.dial(name, addr)
	if err != nil {
		log.Debug("peers: no link", "err", err)
		return false, err
	}
	begun := l.p.cfg.Clock.Monotonic()
	log.Debug("peers: link is up")
	l.set(c, nil)
	why := "dropped here"
	select {
	case <-c.Done():
		why = api.AsError("", c.Err()).Text
	case <-l.ctx.Done():
	}
	c.Close()
	log.Info("peers: link is lost", "why", why)
	err = unavailable(l.node, name, "at %s: %s", addr, why)
	l.mu.Lock()
	l.last = err
	l.mu.Unlock()
	return l.p.cfg.Clock.Monotonic()-begun >= l.p.cfg.RetryMax, err
}

// over tells who waits that nothing will come of it. Who asks after that begins
// a link anew.
func (l *link) over() {
	l.p.forget(l)
	l.count(nil) // gossip has the word now
	l.mu.Lock()
	name := l.name
	l.mu.Unlock()
	if l.p.ctx.Err() != nil {
		l.set(nil, unavailable(l.node, name, "this node is stopping"))
		return
	}
	l.set(nil, unavailable(l.node, name, "it is no living member of the cluster"))
}

func (l *link) dial(name, addr string) (*rpc.Client, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.p.cfg.DialTime)
	defer cancel()
	conn, err := l.p.cfg.Port.Dial(ctx, addr, name, ALPN)
	l.count(err)
	switch {
	case err == nil:
		return rpc.NewClient(conn, l.p.cfg.Options), nil
	case ctx.Err() != nil:
		return nil, unavailable(l.node, name, "at %s: no answer within %v", addr, l.p.cfg.DialTime)
	}
	text := api.AsError("", err).Text
	if !strings.Contains(text, addr) {
		text = "at " + addr + ": " + text
	}
	return nil, unavailable(l.node, name, "%s", text)
}

// enoughRefusals in a row, a few tenths of a second apart, are no accident: a sigmad
// whose socket was taken away has another one by then, and a network that resets
// connections does not reset each.
const enoughRefusals = 3

// count tells of refusals, and of their end.
func (l *link) count(err error) {
	told := l.refusals >= enoughRefusals
	switch {
	case errors.Is(err, port.ErrRefused):
		if l.refusals++; l.refusals == enoughRefusals {
			l.p.cfg.Logger.Info("peers: no sigmad is there", "number", l.node, "err", err)
			l.p.cfg.Refuses(l.node, true)
		}
	case told && err != nil: // it does not answer now
	default:
		l.refusals = 0
		if told {
			l.p.cfg.Refuses(l.node, false)
		}
	}
}

// sleep waits between attempts; false says that there will be no other.
func (l *link) sleep(d time.Duration) bool {
	rang := make(chan struct{})
	t := l.p.cfg.Clock.AfterFunc(d, func() { close(rang) })
	defer t.Stop()
	select {
	case <-rang:
		return true
	case <-l.ctx.Done():
		return false
	}
}
