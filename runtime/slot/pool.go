package slot

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sigmaos/runtime/cgroup"
)

// PoolConfig bounds a node's slots.
type PoolConfig struct {
	Warm   int           // slots of a busy realm that take turns, beyond those in long use; default 3
	Max    int           // slots of the node in all; default 1024. A realm has three quarters at most
	Idle   time.Duration // an unused slot goes after this; default 60 s
	Logger *slog.Logger
}

// young is how long a proc may have run and still be expected to free its slot
// soon; slots with older procs do not count towards those that take turns.
const young = 20 * time.Millisecond

// Pool keeps the slots of one node, by realm and class. It makes them when
// procs wait, one at a time for each realm and class, because making them
// faster than that only steals the CPU from those that start.
type Pool struct {
	cfg   PoolConfig
	maker *Maker
	binfs func() (Binfs, error) // the mount to build on; changes when binfs was restarted

	mu     sync.Mutex
	kinds  map[kind]*slots
	going  map[*Slot]struct{} // dropped, perhaps not gone yet
	total  int
	lost   int // mounts
	closed bool
	stop   context.CancelFunc
	done   context.Context
	wg     sync.WaitGroup
}

type kind struct {
	realm  string
	class  cgroup.Class
	execFD uint32
}

type slots struct {
	all     map[*Slot]Binfs
	idle    []parked // oldest first: the one that rested longest is surely ready
	waiters []func(*Slot, error)
	making  bool
	made    chan struct{} // closed when the goroutine that makes slots has ended
}

type parked struct {
	s     *Slot
	since time.Time
}

// ErrClosed is what waiters get when the pool or the realm goes.
var ErrClosed = errors.New("slot: the pool is closed")

// NewPool returns a pool that makes slots with m on the mounts of binfs.
func NewPool(cfg PoolConfig, m *Maker, binfs func() (Binfs, error)) *Pool {
	if cfg.Warm == 0 {
		cfg.Warm = 3
	}
	if cfg.Max == 0 {
		cfg.Max = 1024
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Pool{cfg: cfg, maker: m, binfs: binfs, kinds: make(map[kind]*slots), going: make(map[*Slot]struct{}), done: ctx, stop: stop}
	p.wg.Add(1)
	go p.trimmer()
	return p
}

// Get lends a slot: fn is called with one, at once and by the caller when one
// is idle, otherwise later by whoever frees or makes it. Slots that cannot be
// made are an error for all who wait.
func (p *Pool) Get(realm string, class cgroup.Class, fds int64, fn func(*Slot, error)) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		fn(nil, ErrClosed)
		return
	}
	k := kind{realm, class, execFD(fds)}
	g := p.kinds[k]
	if g == nil {
		g = &slots{all: make(map[*Slot]Binfs)}
		p.kinds[k] = g
	}
	for len(g.idle) > 0 {
		s := g.idle[0].s
		g.idle = g.idle[1:]
		if s.usable() {
			p.mu.Unlock()
			fn(s, nil)
			return
		}
		p.dropLocked(g, s)
	}
	g.waiters = append(g.waiters, fn)
	p.growLocked(k, g)
	p.mu.Unlock()
}

// Put takes a slot back and hands it on when somebody waits.
func (p *Pool) Put(s *Slot) {
	p.mu.Lock()
	k := kind{s.realm, s.class, s.execFD}
	g := p.kinds[k]
	if g == nil || p.closed || !s.usable() {
		if g != nil {
			p.dropLocked(g, s)
			if len(g.waiters) > 0 {
				p.growLocked(k, g)
			}
		} else {
			p.closeLocked(s)
		}
		p.mu.Unlock()
		return
	}
	if len(g.waiters) > 0 {
		fn := g.waiters[0]
		g.waiters = g.waiters[1:]
		p.mu.Unlock()
		fn(s, nil)
		return
	}
	g.idle = append(g.idle, parked{s, time.Now()})
	p.mu.Unlock()
}

func (p *Pool) dropLocked(g *slots, s *Slot) {
	if _, ok := g.all[s]; ok {
		delete(g.all, s)
		p.total--
	}
	p.closeLocked(s)
}

// closeLocked closes a slot and remembers it until it is gone.
func (p *Pool) closeLocked(s *Slot) {
	for o := range p.going {
		select {
		case <-o.Gone():
			delete(p.going, o)
		default:
		}
	}
	p.going[s] = struct{}{}
	s.Close()
}

// growLocked starts the goroutine that makes slots for k while somebody waits.
func (p *Pool) growLocked(k kind, g *slots) {
	if g.making {
		return
	}
	g.making, g.made = true, make(chan struct{})
	p.wg.Add(1)
	go p.make(k, g, g.made)
}

// roomLocked reports whether another slot may be made for k. Where the node has
// all it may have, the one that rested longest goes, whoever's it is.
func (p *Pool) roomLocked(k kind, g *slots) bool {
	if len(g.all) >= p.wantLocked(g) || p.countLocked(k.realm) >= p.cfg.Max-p.cfg.Max/4 {
		return false
	}
	if p.total < p.cfg.Max {
		return true
	}
	var oldest *slots
	for _, o := range p.kinds {
		if len(o.idle) > 0 && (oldest == nil || o.idle[0].since.Before(oldest.idle[0].since)) {
			oldest = o
		}
	}
	if oldest == nil {
		return false
	}
	s := oldest.idle[0].s
	oldest.idle = oldest.idle[1:]
	p.dropLocked(oldest, s)
	return true
}

func (p *Pool) make(k kind, g *slots, made chan struct{}) {
	defer p.wg.Done()
	defer close(made)
	for {
		p.mu.Lock()
		if p.closed || len(g.waiters) == 0 {
			g.making = false
			p.mu.Unlock()
			return
		}
		if !p.roomLocked(k, g) {
			p.mu.Unlock()
			select {
			case <-p.done.Done():
			case <-time.After(young / 4):
			}
			continue
		}
		p.total++
		lost := p.lost
		p.mu.Unlock()
		b, err := p.binfs()
		var s *Slot
		if err == nil {
			s, err = p.maker.Make(b, k.realm, k.class, int64(k.execFD))
		}
		p.mu.Lock()
		if p.lost != lost && !p.closed && p.kinds[k] == g {
			// The mount died meanwhile. What was made on it is dead, too; what could not
			// be made can be on the next.
			p.total--
			p.mu.Unlock()
			if s != nil {
				s.Close()
				<-s.Gone()
			}
			continue
		}
		if err != nil || p.closed || p.kinds[k] != g {
			p.total--
			waiters := g.waiters
			g.waiters, g.making = nil, false
			p.mu.Unlock()
			if s != nil {
				s.Close()
				<-s.Gone()
				err = ErrClosed
			}
			for _, fn := range waiters {
				fn(nil, err)
			}
			return
		}
		g.all[s] = b
		p.mu.Unlock()
		p.Put(s)
	}
}

// wantLocked is how many slots a realm should have: those in long use and a
// few that take turns; more of these when many are in long use, so that a burst
// of long procs does not wait for slots one by one.
func (p *Pool) wantLocked(g *slots) int {
	now, long := time.Now(), 0
	for s := range g.all {
		if s.busyFor(now) > young {
			long++
		}
	}
	return long + min(max(long, p.cfg.Warm), 32)
}

// Rebuild drops every idle slot that was built on b: its mount is dead. Busy
// ones go when their procs end, and one that is being made is made anew.
func (p *Pool) Rebuild(b Binfs) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
	for _, g := range p.kinds {
		for s, on := range g.all {
			if on == b {
				s.spoil()
			}
		}
		keep := g.idle[:0]
		for _, i := range g.idle {
			if i.s.usable() {
				keep = append(keep, i)
			} else {
				p.dropLocked(g, i.s)
			}
		}
		g.idle = keep
	}
}

// RemoveRealm ends every slot of a realm and with them its procs, and returns
// when they are gone.
func (p *Pool) RemoveRealm(realm string) {
	p.mu.Lock()
	var gone []*Slot
	var made []chan struct{}
	var waiters []func(*Slot, error)
	for k, g := range p.kinds {
		if k.realm == realm {
			delete(p.kinds, k)
			for s := range g.all {
				p.dropLocked(g, s)
			}
			waiters = append(waiters, g.waiters...)
			g.waiters = nil
			if g.making {
				made = append(made, g.made)
			}
		}
	}
	for s := range p.going {
		if s.realm == realm {
			gone = append(gone, s)
		}
	}
	p.mu.Unlock()
	for _, fn := range waiters {
		fn(nil, ErrClosed)
	}
	for _, s := range gone {
		<-s.Gone()
	}
	for _, m := range made {
		<-m
	}
}

// Count returns the slots of a realm, idle and busy.
func (p *Pool) Count(realm string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.countLocked(realm)
}

func (p *Pool) countLocked(realm string) (n int) {
	for k, g := range p.kinds {
		if k.realm == realm {
			n += len(g.all)
		}
	}
	return n
}

func (p *Pool) trimmer() {
	defer p.wg.Done()
	t := time.NewTicker(p.cfg.Idle / 6)
	defer t.Stop()
	for {
		select {
		case <-p.done.Done():
			return
		case now := <-t.C:
			p.mu.Lock()
			for _, g := range p.kinds {
				for len(g.idle) > 0 && now.Sub(g.idle[0].since) > p.cfg.Idle {
					p.dropLocked(g, g.idle[0].s)
					g.idle = g.idle[1:]
				}
			}
			p.mu.Unlock()
		}
	}
}

// Close ends all slots and returns when they are gone.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	var gone []*Slot
	var waiters []func(*Slot, error)
	for _, g := range p.kinds {
		for s := range g.all {
			p.closeLocked(s)
		}
		waiters = append(waiters, g.waiters...)
		g.waiters = nil
	}
	for s := range p.going {
		gone = append(gone, s)
	}
	p.mu.Unlock()
	p.stop()
	for _, fn := range waiters {
		fn(nil, ErrClosed)
	}
	for _, s := range gone {
		<-s.Gone()
	}
	p.wg.Wait()
}
