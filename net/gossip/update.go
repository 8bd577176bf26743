package gossip

import (
	"bytes"
	"time"
)

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
