package rpc

import (
	"container/list"
	"context"

	"sigmaos/api"
)

// numbers are the call numbers of a Client. A number is used again only when
// the server has said its last word on it, so that small numbers do for ever,
// both sides can keep calls in a table, and the server's limit holds without a
// word. Who finds none free waits in a queue. Guarded by the link's mu.
type numbers struct {
	limit uint32 // numbers are below it
	next  uint32 // never used yet
	free  []uint32
	queue list.List // of chan uint32: each holds one, and is closed at the end of the link
}

func (n *numbers) any() bool { return len(n.free) > 0 || n.next < n.limit }

// used is how many are in use.
func (n *numbers) used() int { return int(n.next) - len(n.free) }

// get returns a free number; there is one.
func (n *numbers) get() uint32 {
	if k := len(n.free); k > 0 {
		id := n.free[k-1]
		n.free = n.free[:k-1]
		return id
	}
	n.next++
	return n.next - 1
}

// put gives a number back, to who waits longest.
func (n *numbers) put(id uint32) {
	if e := n.queue.Front(); e != nil {
		n.queue.Remove(e).(chan uint32) <- id
		return
	}
	n.free = append(n.free, id)
}

// raise allows numbers up to limit.
func (n *numbers) raise(limit int) {
	n.limit = uint32(limit)
	for n.queue.Len() > 0 && n.any() {
		n.put(n.get())
	}
}

// end sends everybody away who waits.
func (n *numbers) end() {
	for e := n.queue.Front(); e != nil; e = n.queue.Front() {
		close(n.queue.Remove(e).(chan uint32))
	}
}

// takeLocked waits for a number.
func (c *Client) takeLocked(ctx context.Context, method string) (uint32, error) {
	if c.err != nil {
		return 0, lost("call", method, c.err)
	}
	if c.numbers.any() {
		return c.numbers.get(), nil
	}
	ch := make(chan uint32, 1)
	place := c.numbers.queue.PushBack(ch)
	c.mu.Unlock()
	var id uint32
	var ok bool
	select {
	case id, ok = <-ch:
		c.mu.Lock()
	case <-ctx.Done():
		c.mu.Lock()
		c.numbers.queue.Remove(place)
		select {
		case id, ok = <-ch: // it came meanwhile
			if ok {
				c.numbers.put(id)
			}
		default:
		}
		return 0, api.E(ended(ctx, "call", method).Kind, "call", method, "%d calls are under way on this connection, and none ended within the caller's time", c.numbers.limit)
	}
	if !ok {
		return 0, lost("call", method, c.err)
	}
	return id, nil
}
