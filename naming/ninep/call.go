package ninep

import (
	"context"
	"os"

	"sigmaos/api"
)

// call is a request that was sent.
type call struct {
	tag    uint16
	typ    uint8
	fresh  uint32 // the fid that it makes; noFid: none
	answer chan reply
	stream *stream // of a watch
	then   func()  // instead of answer: what to do with c.mu held

	c *Client

	// Guarded by the client's mu.
	abandoned bool // nobody waits; a flush is on its way
	slot      bool // it counts among the calls under way
}

type reply struct {
	b    *buffer
	file *os.File
}

// deliverLocked gives k its answer; for one that nobody waits for, it undoes
// what was done.
func (k *call) deliverLocked(b *buffer, file *os.File) {
	k.c.leaveLocked(k)
	if !k.abandoned && k.then == nil {
		k.answer <- reply{b, file}
		return
	}
	closeFile(file)
	switch made := frameType(b.b) == k.typ+1; {
	case k.then != nil:
		k.then()
	case k.fresh == noFid:
	case made:
		k.c.choreLocked(chore{clunk: true, fid: k.fresh})
	default:
		k.c.freeFidLocked(k.fresh)
	}
	k.c.pool.put(b)
}

// start sends a request; wait or abandon must follow.
func (c *Client) start(ctx context.Context, typ uint8, m message, fresh uint32) (*call, error) {
	k := &call{typ: typ, fresh: fresh, answer: make(chan reply, 1), c: c}
	if typ == tSwatch {
		k.stream = newStream(&c.pool)
	} else {
		select {
		case c.slots <- struct{}{}:
			k.slot = true
		case <-ctx.Done():
			return nil, ended(ctx)
		case <-c.done:
			return nil, c.lost()
		}
	}
	if err := c.send(k, m); err != nil {
		c.mu.Lock()
		c.leaveLocked(k)
		c.mu.Unlock()
		return nil, err
	}
	return k, nil
}

// leaveLocked makes room for another call: when the answer is there, not when
// somebody looks at it, for who waits may start others first.
func (c *Client) leaveLocked(k *call) {
	if k.slot {
		k.slot = false
		<-c.slots
	}
}

// send gives k a tag and sends it.
func (c *Client) send(k *call, m message) error {
	size := smallBuffer
	if l, ok := m.(interface{ long() int }); ok { // not grown for each anew
		size = max(size, headerSize+l.long())
	}
	b := c.pool.get(size)
	defer c.pool.put(b)
	b.b = appendFrame(b.b[:0], k.typ, 0, m)
	if len(b.b) > c.msize {
		return api.E(api.TooLarge, "request", "", "it has %d bytes; the server takes %d", len(b.b), c.msize)
	}
	c.mu.Lock()
	if err := c.nameLocked(k); err != nil {
		c.mu.Unlock()
		return err
	}
	c.mu.Unlock()
	b.b[5], b.b[6] = byte(k.tag), byte(k.tag>>8)
	if err := c.out.send(b.b); err != nil {
		c.fail(api.E(api.Unavailable, "file", "", "the connection to the server is lost: %v", err))
		return c.lost()
	}
	return nil
}

// nameLocked finds a free tag for k.
func (c *Client) nameLocked(k *call) error {
	switch n := len(c.tags); {
	case c.err != nil:
		return c.err
	case n > 0:
		k.tag, c.tags = c.tags[n-1], c.tags[:n-1]
	case c.tag < noTag:
		k.tag = c.tag
		c.tag++
	default:
		return api.E(api.Busy, "request", "", "the server has not answered %d requests that were given up", noTag)
	}
	c.calls[k.tag] = k
	return nil
}

func (c *Client) freeLocked(k *call) {
	delete(c.calls, k.tag)
	c.tags = append(c.tags, k.tag)
}

// wait returns when the answer is there or ctx ends; then the request is
// flushed, and what it may still do is undone.
func (c *Client) wait(ctx context.Context, k *call) (reply, error) {
	select {
	case r := <-k.answer:
		return r, nil
	default:
	}
	select {
	case r := <-k.answer:
		return r, nil
	case <-c.done:
		select {
		case r := <-k.answer:
			return r, nil
		default:
			return reply{}, c.lost()
		}
	case <-ctx.Done():
		return c.abandon(k, ended(ctx))
	}
}

// abandon gives k up, unless its answer has come.
func (c *Client) abandon(k *call, err error) (reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case r := <-k.answer:
		return r, nil
	default:
	}
	k.abandoned = true
	c.leaveLocked(k)
	c.choreLocked(chore{flush: k})
	return reply{}, err
}

// do sends a request and decodes its answer.
func (c *Client) do(ctx context.Context, op string, typ uint8, m, out message) error {
	_, err := c.doMaking(ctx, op, typ, m, out, noFid)
	return err
}

// doMaking is do for a request that makes the fid fresh, whose number is free
// again if it does not.
func (c *Client) doMaking(ctx context.Context, op string, typ uint8, m, out message, fresh uint32) (*os.File, error) {
	k, err := c.start(ctx, typ, m, fresh)
	if err != nil {
		c.freeFid(fresh)
		return nil, err
	}
	r, err := c.wait(ctx, k)
	if err != nil {
		return nil, err
	}
	defer c.pool.put(r.b)
	if err := c.decode(op, k.typ, r.b, out); err != nil {
		c.freeFid(fresh)
		closeFile(r.file)
		return nil, err
	}
	return r.file, nil
}

// decode reads an answer into out, or the error that it is. Bytes in out are part
// of b.
func (c *Client) decode(op string, asked uint8, b *buffer, out message) error {
	typ := frameType(b.b)
	if typ == asked+1 {
		if err := decode(b.b[headerSize:], out); err != nil {
			err := api.E(api.Unavailable, op, "", "the server's answer makes no sense: %v", err)
			c.fail(err)
			return err
		}
		return nil
	}
	m := newAnswer(typ)
	if err := decode(b.b[headerSize:], m); err != nil {
		return api.E(api.Unavailable, op, "", "the server's error makes no sense: %v", err)
	}
	return received(op, m)
}
