package rpc

import "context"

// Go begins a call and returns; fn is told the result, once. It is for callers
// that have thousands of small calls under way and do not want a goroutine for
// each.
//
// fn runs in the goroutine that reads the connection (after the end of ctx: in
// one of its own). It must not block, and body is its own only until it returns.
// It may call Go. Where Call would wait, Go returns Busy; when Go returns an
// error, fn is not called.
func (c *Client) Go(ctx context.Context, method string, req []byte, fn func(body []byte, err error)) error {
	ca := &call{method: method, fn: fn}
	if err := c.begin(ctx, ca, kCall, req, false); err != nil {
		return err
	}
	if ctx.Done() == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		if c.abandon(ca) {
			fn(nil, ended(ctx, "call", method))
		}
	})
	c.mu.Lock()
	ca.stop = stop
	over := ca.over
	c.mu.Unlock()
	if over {
		stop()
	}
	return nil
}
