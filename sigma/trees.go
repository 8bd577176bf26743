package sigma

import (
	"context"

	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// Root, Through and Here are for what shows the whole name space to others, a
// mount or a gateway (naming/view); programs use the calls by path. The places
// that they return are shared and stay open.

// Root is the realm's root at the server that leads it now.
func (n *Names) Root(ctx context.Context) (*ninep.Fid, error) {
	s, err := n.r0(ctx)
	if err != nil {
		return nil, err
	}
	return s.Root, nil
}

// Through is the root of what the server behind an endpoint link serves.
func (n *Names) Through(ctx context.Context, link tree.Attr) (*ninep.Fid, error) {
	s, err := n.dial(ctx, link)
	if err != nil {
		return nil, err
	}
	return s.Root, nil
}

// Here reports whether a link's server is on the node that n talks to: the one
// that ~local means.
func (n *Names) Here(link tree.Attr) bool { return n.here(link) }

// Gone reports whether the connection is lost: every call on it fails.
func (c *Client) Gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}
