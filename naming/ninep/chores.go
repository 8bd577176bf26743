package ninep

import "runtime"

// chore is what is sent without anybody waiting for the answer.
type chore struct {
	flush *call
	seen  int // of flush, which is a watch, instead of ending it
	clunk bool
	fid   uint32
}

func (c *Client) choreLocked(w chore) {
	if c.err != nil {
		return
	}
	c.chores = append(c.chores, w)
	select {
	case c.work <- struct{}{}:
	default:
	}
}

// doChores sends flushes, and clunks of files that nobody has any more.
func (c *Client) doChores() {
	for {
		select {
		case <-c.work:
		case <-c.done:
			return
		}
		c.mu.Lock()
		list := c.chores
		c.chores = nil
		collect := c.live > c.gcAt
		c.mu.Unlock()
		for _, w := range list {
			c.doChore(w)
		}
		if collect { // dropped files hold fids until they are found
			runtime.GC()
			c.mu.Lock()
			c.gcAt = max(firstGC, 2*c.live)
			c.mu.Unlock()
		}
	}
}

func (c *Client) doChore(w chore) {
	k := &call{fresh: noFid, c: c}
	if w.clunk {
		k.typ, k.then = tClunk, func() { c.freeFidLocked(w.fid) }
		c.send(k, &onFid{Fid: w.fid})
		return
	}
	if w.seen > 0 {
		k.typ, k.then = tSseen, func() {}
		c.send(k, &sseen{Tag: w.flush.tag, Events: uint32(w.seen)})
		return
	}
	k.typ, k.then = tFlush, func() { c.freeLocked(w.flush) }
	c.send(k, &flush{Old: w.flush.tag})
}

// newFid takes a number that the server does not know.
func (c *Client) newFid() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live++; c.live > c.gcAt {
		select {
		case c.work <- struct{}{}:
		default:
		}
	}
	if n := len(c.fids); n > 0 {
		num := c.fids[n-1]
		c.fids = c.fids[:n-1]
		return num
	}
	c.fid++
	return c.fid - 1
}

func (c *Client) freeFidLocked(num uint32) {
	c.live--
	c.fids = append(c.fids, num)
}

func (c *Client) freeFid(num uint32) {
	if num == noFid {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freeFidLocked(num)
}

// clunkLater ends a fid without waiting for it.
func (c *Client) clunkLater(num uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.choreLocked(chore{clunk: true, fid: num})
}
