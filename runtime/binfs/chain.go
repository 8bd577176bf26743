package binfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"sigmaos/api"
)

// Origin is a place other than this disk that may have programs: a peer, an
// object store. Nothing that it gives is believed.
type Origin interface {
	Name() string
	// Open gives what a start needs first.
	Open(ctx context.Context, realm string, d Digest) (Opening, error)
	// Chunks gives those chunks, one behind the other.
	Chunks(ctx context.Context, realm string, d Digest, list []uint32) ([]byte, error)
}

// Learner is an Origin that can keep what a start of a program was seen to touch, so
// that the next one who starts it gets that with its first question. Where it has a
// profile already it does nothing.
type Learner interface {
	Learn(ctx context.Context, realm string, d Digest, p Profile) error
}

// Bounds of fetching. A start waits for its tree and for its chunks, each at
// most askTime: below 20 s in all.
const (
	fetchTime   = 8 * time.Second
	askTime     = fetchTime + time.Second
	tryTime     = 3 * time.Second // for one origin; then it is the next one's turn
	perRealm    = 8               // requests under way for one realm
	maxFavoured = 4096
)

// Chain asks one origin after the other, the one that was right last first, and
// verifies what they give: what is damaged, cut short, late or refused is asked
// of the next. A realm has a few requests under way and no more, so that a dead
// store of one holds up nobody else.
type Chain struct {
	origins func(realm string, d Digest) []Origin

	mu       sync.Mutex
	favoured map[nodeKey]string // who had it last
	trees    map[nodeKey]Tree   // found lately
	places   map[string]*places
}

// places bounds a realm; it goes when nobody uses it.
type places struct {
	ch    chan struct{}
	users int
}

// NewChain asks what origins returns for a realm's program, in that order.
func NewChain(origins func(realm string, d Digest) []Origin) *Chain {
	return &Chain{origins: origins, favoured: make(map[nodeKey]string), trees: make(map[nodeKey]Tree), places: make(map[string]*places)}
}

// open finds a program and what a start of it needs first; from says who had it.
func (c *Chain) open(ctx context.Context, realm string, d Digest) (v opened, from string, err error) {
	from, err = c.each(ctx, realm, d, func(ctx context.Context, o Origin) error {
		x, err := o.Open(ctx, realm, d)
		if err == nil {
			v, err = x.verify(d)
		}
		return err
	})
	if err == nil {
		c.remember(nodeKey{realm, string(d)}, v.tree)
	}
	return v, from, err
}

// Chunks finds chunks of a program, verified.
func (c *Chain) Chunks(ctx context.Context, realm string, d Digest, t Tree, list []uint32) (data []byte, from string, err error) {
	from, err = c.each(ctx, realm, d, func(ctx context.Context, o Origin) error {
		b, err := o.Chunks(ctx, realm, d, list)
		if err == nil {
			_, err = t.Split(list, b)
		}
		data = b
		return err
	})
	return data, from, err
}

// maxTrees is how many trees chunksOf remembers.
const maxTrees = 256

// chunksOf is Chunks for who does not have the tree at hand: the one that open
// found, or else finds again.
func (c *Chain) chunksOf(ctx context.Context, q Question, d Digest) ([]byte, string, error) {
	k := nodeKey{q.Realm, q.Digest}
	c.mu.Lock()
	t, ok := c.trees[k]
	c.mu.Unlock()
	if !ok {
		v, _, err := c.open(ctx, q.Realm, d)
		if err != nil {
			return nil, "", err
		}
		t = v.tree
	}
	return c.Chunks(ctx, q.Realm, d, t, q.Chunks)
}

func (c *Chain) remember(k nodeKey, t Tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.trees) >= maxTrees {
		clear(c.trees)
	}
	c.trees[k] = t
}

// learned tells the origin that had a program last what a start of it touched.
func (c *Chain) learned(ctx context.Context, l Learned) error {
	d, p, err := l.check()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	leave, err := c.enter(ctx, l.Realm)
	if err != nil {
		return err
	}
	defer leave()
	c.mu.Lock()
	name := c.favoured[nodeKey{l.Realm, l.Digest}]
	c.mu.Unlock()
	for _, o := range c.origins(l.Realm, d) {
		if to, ok := o.(Learner); ok && o.Name() == name {
			return to.Learn(ctx, l.Realm, d, p)
		}
	}
	return nil
}

// each tries fn on the origins until one does it. The error is fs.ErrNotExist
// where all of them answered that they do not have the program.
func (c *Chain) each(ctx context.Context, realm string, d Digest, fn func(context.Context, Origin) error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	leave, err := c.enter(ctx, realm)
	if err != nil {
		return "", err
	}
	defer leave()
	absent := true // everybody says so
	errs := []error{fmt.Errorf("binfs: no node or store that answers has %s", d)}
	for _, o := range c.order(realm, d) {
		try, done := context.WithTimeout(ctx, tryTime)
		err := fn(try, o)
		done()
		if err == nil {
			c.Favour(realm, d, o.Name())
			return o.Name(), nil
		}
		absent = absent && api.KindOf(err) == api.NotFound
		errs = append(errs, fmt.Errorf("%s: %w", o.Name(), err))
		if ctx.Err() != nil {
			break
		}
	}
	if absent {
		errs = append(errs, fs.ErrNotExist)
	}
	return "", errors.Join(errs...)
}

// order puts the one that had the program last in front.
func (c *Chain) order(realm string, d Digest) []Origin {
	list := slices.Clone(c.origins(realm, d))
	c.mu.Lock()
	name := c.favoured[nodeKey{realm, string(d)}]
	c.mu.Unlock()
	slices.SortStableFunc(list, func(a, b Origin) int {
		switch {
		case a.Name() == b.Name():
			return 0
		case a.Name() == name:
			return -1
		case b.Name() == name:
			return 1
		}
		return 0
	})
	return list
}

// Favour says who is known to have a program: it is asked first.
func (c *Chain) Favour(realm string, d Digest, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.favoured) >= maxFavoured {
		clear(c.favoured)
	}
	c.favoured[nodeKey{realm, string(d)}] = name
}

// enter takes one of the realm's places.
func (c *Chain) enter(ctx context.Context, realm string) (leave func(), err error) {
	c.mu.Lock()
	p := c.places[realm]
	if p == nil {
		p = &places{ch: make(chan struct{}, perRealm)}
		c.places[realm] = p
	}
	p.users++
	c.mu.Unlock()
	gone := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(c.places, realm)
		}
	}
	select {
	case p.ch <- struct{}{}:
		if ctx.Err() == nil {
			return func() { <-p.ch; gone() }, nil
		}
		<-p.ch
	case <-ctx.Done():
	}
	gone()
	return nil, fmt.Errorf("binfs: the realm's %d requests to its stores do not end: %w", perRealm, ctx.Err())
}
