package gossip

import (
	"context"
	"time"

	"sigmaos/api"
)

// Leave says goodbye, so that the others need not find out. It returns when they
// have heard it and it has gone out to be passed on, or at ctx's deadline; the node
// is no member any more in either case. Close comes next.
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
	g.part(ctx, limit/2)
	g.table.leaving(g.me.Name, g.cfg.Boot)
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at))
	}
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
