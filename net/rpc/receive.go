package rpc

// run is the Client's reading goroutine.
func (c *Client) run() {
	err := c.greet(roleServer)
	if err == nil {
		c.mu.Lock()
		c.numbers.raise(min(c.other.maxCalls, c.opt.MaxCalls))
		for _, ca := range c.calls {
			if ca != nil && ca.stream != nil {
				ca.stream.signalLocked()
			}
		}
		c.mu.Unlock()
		err = c.receive()
	}
	c.fail(ending(err))
	c.end()
	c.wg.Wait()
	close(c.done)
}

func (c *Client) receive() error {
	for {
		f, err := c.in.next()
		if err != nil {
			return err
		}
		if err := c.take(f); err != nil {
			return err
		}
	}
}

// take handles one frame. It never waits.
func (c *Client) take(f frame) error {
	c.mu.Lock()
	if f.kind == kPing || f.kind == kPong {
		if f.kind == kPing {
			c.pong = true
			c.wakeLocked()
		}
		c.mu.Unlock()
		return nil
	}
	var ca *call
	if int64(f.id) < int64(len(c.calls)) {
		ca = c.calls[f.id]
	}
	switch {
	case ca == nil:
		c.mu.Unlock()
		return broken("a frame of type %d for call %d, which nobody made", f.kind, f.id)
	case f.kind == kAnswer || f.kind == kError:
		c.calls[f.id] = nil
		c.numbers.put(f.id)
		return c.finishLocked(ca, f)
	case ca.stream == nil || f.kind < kData:
		c.mu.Unlock()
		return broken("a frame of type %d for call %d", f.kind, f.id)
	}
	err := ca.stream.takeLocked(f)
	c.mu.Unlock()
	return err
}

// finishLocked gives ca its result and lets go of mu.
func (c *Client) finishLocked(ca *call, f frame) (broke error) {
	if ca.abandoned {
		c.mu.Unlock()
		if ca.ready != nil {
			c.free(ca)
		}
		return nil
	}
	ca.over = true
	var err error
	if f.kind == kError {
		e, bad := decodeError(f.body)
		if broke = bad; bad != nil {
			e = lost("call", ca.method, ending(bad))
		}
		err = e
	}
	if ca.stop != nil {
		ca.stop()
	}
	if ca.stream != nil {
		ca.stream.endLocked(err)
		c.mu.Unlock()
		return broke
	}
	c.mu.Unlock()
	if ca.fn != nil {
		if err != nil {
			ca.fn(nil, err)
		} else {
			ca.fn(f.body, nil)
		}
		return broke
	}
	if ca.err = err; err == nil && len(f.body) > 0 {
		if ca.body = f.body; !f.own {
			ca.body = append([]byte(nil), f.body...)
		}
	}
	ca.ready <- struct{}{}
	return broke
}

// end tells everybody who waits that the link has ended.
func (c *Client) end() {
	c.mu.Lock()
	calls := c.calls
	c.calls = nil
	c.numbers.end()
	for _, ca := range calls {
		if ca == nil || ca.abandoned {
			continue
		}
		ca.over = true
		ca.err = lost("call", ca.method, c.err)
		if ca.stop != nil {
			ca.stop()
		}
		if ca.stream != nil {
			ca.stream.endLocked(ca.err)
		}
	}
	c.mu.Unlock()
	for _, ca := range calls {
		switch {
		case ca == nil || ca.abandoned || ca.stream != nil:
		case ca.fn != nil:
			ca.fn(nil, ca.err)
		default:
			ca.ready <- struct{}{}
		}
	}
}
