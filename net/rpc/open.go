package rpc

import "context"

// Stream opens a stream to method. ctx holds for the whole of it: when it ends,
// so does the stream. Stream does not wait for the handler: that there is none
// is said by the first Recv.
func (c *Client) Stream(ctx context.Context, method string) (*Stream, error) {
	ca := &call{method: method}
	s := newStream(&c.link, 0, method, nil)
	ca.stream = s
	giveUp := func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.end == nil {
			s.dropLocked(err)
			ca.abandoned = true
			c.cancelLocked(ca.id)
		}
	}
	s.cancel = giveUp
	if err := c.begin(ctx, ca, kOpen, nil, true); err != nil {
		return nil, err
	}
	if ctx.Done() == nil {
		return s, nil
	}
	stop := context.AfterFunc(ctx, func() { giveUp(ended(ctx, "stream", method)) })
	s.cancel = func(err error) {
		stop()
		giveUp(err)
	}
	c.mu.Lock()
	ca.stop = stop
	over := s.end != nil
	c.mu.Unlock()
	if over {
		stop()
	}
	return s, nil
}
