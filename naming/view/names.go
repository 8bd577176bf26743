package view

import (
	"context"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
	"sigmaos/sigma"
)

// Names is the Source of a program outside. It connects anew when the node that
// it talks to is gone.
type Names struct {
	connect func(ctx context.Context) (*sigma.Client, error)

	mu sync.Mutex
	c  *sigma.Client
}

// NewNames connects when it is first needed.
func NewNames(connect func(ctx context.Context) (*sigma.Client, error)) *Names {
	return &Names{connect: connect}
}

// Close ends the connections.
func (n *Names) Close() error {
	n.mu.Lock()
	c := n.c
	n.c = nil
	n.mu.Unlock()
	if c == nil {
		return nil
	}
	c.Names().Close()
	return c.Close()
}

func (n *Names) client(ctx context.Context) (*sigma.Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.c != nil {
		return n.c, nil
	}
	c, err := n.connect(ctx)
	n.c = c
	return c, err
}

// with calls fn with a client, and once more with a new one if the node is gone.
func (n *Names) with(ctx context.Context, fn func(*sigma.Names) (*ninep.Fid, error)) (*ninep.Fid, error) {
	c, err := n.client(ctx)
	if err != nil {
		return nil, err
	}
	f, err := fn(c.Names())
	if api.KindOf(err) != api.Unavailable || !c.Gone() {
		return f, err
	}
	n.mu.Lock()
	if n.c == c {
		n.c = nil
		c.Names().Close()
		c.Close()
	}
	n.mu.Unlock()
	if c, err = n.client(ctx); err != nil {
		return nil, err
	}
	return fn(c.Names())
}

func (n *Names) Root(ctx context.Context) (*ninep.Fid, error) {
	return n.with(ctx, func(n *sigma.Names) (*ninep.Fid, error) { return n.Root(ctx) })
}

func (n *Names) Through(ctx context.Context, link tree.Attr) (*ninep.Fid, error) {
	return n.with(ctx, func(n *sigma.Names) (*ninep.Fid, error) { return n.Through(ctx, link) })
}

func (n *Names) Here(link tree.Attr) bool {
	n.mu.Lock()
	c := n.c
	n.mu.Unlock()
	return c != nil && c.Names().Here(link)
}
