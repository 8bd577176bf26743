package talk

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
)

// peer is the conversation with one node.
type peer struct {
	t      *Talk
	number uint16
	kick   chan struct{} // tells run that there is something to do; holds one

	// in is held while messages and ends are handed on, so that they come one
	// after the other. It comes before mu; who holds mu takes nothing else.
	in sync.Mutex

	mu      sync.Mutex
	mine    uint64 // our session
	theirs  uint64 // 0: not known yet
	ended   uint64 // sessions of theirs up to this one are over
	active  bool   // it was used, so its end is to be told
	running bool   // has its goroutine
	queue   []any  // not acknowledged
	first   uint64 // number of the first of them
	next    uint64 // of the message that we want
	ping    bool   // a call is due, even without messages
	missed  int    // ticks since the last answer
	cancel  context.CancelFunc

	buf []byte // of the request under way; belongs to run
}

func (p *peer) send(m any) {
	p.mu.Lock()
	idle := !p.active || len(p.queue) == 0 && m != nil
	p.activateLocked()
	if m != nil {
		p.queue = append(p.queue, m)
	}
	p.mu.Unlock()
	if idle { // else it knows
		p.wake()
	}
}

// activateLocked makes the session one that is kept up until it ends.
func (p *peer) activateLocked() {
	if !p.active {
		p.active, p.ping, p.missed = true, true, 0
		p.first = 1
	}
	if !p.running {
		p.running = p.t.begin(p.run)
	}
}

func (p *peer) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// tick counts one, ends the session or has a sign of life sent.
func (p *peer) tick() {
	p.mu.Lock()
	if !p.active {
		p.mu.Unlock()
		return
	}
	p.missed++
	over, mine := p.missed >= p.t.cfg.Missed, p.mine
	p.ping = true
	p.mu.Unlock()
	if over {
		p.end(mine, true)
		return
	}
	p.wake()
}

// end ends the session mine, if it still is the present one.
func (p *peer) end(mine uint64, byUs bool) {
	p.in.Lock()
	defer p.in.Unlock()
	p.endHoldingIn(mine, byUs)
}

func (p *peer) endHoldingIn(mine uint64, byUs bool) {
	fresh := p.t.session()
	p.mu.Lock()
	if p.mine != mine {
		p.mu.Unlock()
		return
	}
	who := Peer{p.number, uint32(p.theirs >> 32)}
	was, undelivered, cancel := p.active, p.queue, p.cancel
	p.ended = max(p.ended, p.theirs)
	p.mine, p.theirs, p.next, p.queue, p.first = fresh, 0, 1, nil, 1
	p.active, p.ping, p.missed, p.cancel = false, false, 0, nil
	p.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if was {
		p.t.cfg.Logger.Info("talk: a conversation is over", "node", p.number, "by", by(byUs), "undelivered", len(undelivered))
		p.t.cfg.Over(who, byUs, undelivered)
	}
}

func by(us bool) string {
	if us {
		return "us"
	}
	return "them"
}

// run is the goroutine that makes the calls to the peer.
func (p *peer) run() {
	for {
		select {
		case <-p.t.ctx.Done():
			return
		case <-p.kick:
		}
		for p.once() {
		}
	}
}

// once makes one call; more says whether another one is due at once.
func (p *peer) once() (more bool) {
	p.mu.Lock()
	if !p.active || !p.ping && (len(p.queue) == 0 || p.theirs == 0) {
		p.mu.Unlock()
		return false
	}
	p.ping = false
	h := head{p.mine, p.theirs, max(p.first, 1)}
	var send []any
	if p.theirs != 0 {
		send = p.queue
	}
	ctx, cancel := context.WithCancel(p.t.ctx)
	p.cancel = cancel
	p.mu.Unlock()
	defer cancel()

	b, err := p.t.cfg.Call(ctx, p.number, p.request(h, send))
	var a answer
	if err == nil {
		a, err = parseAnswer(b)
	}
	if err != nil {
		p.t.cfg.Logger.Debug("talk: a call failed", "node", p.number, "err", err)
		p.later(h.mine)
		return false
	}
	return p.answered(h, a)
}

// request encodes what fits into one call, into memory that the next call uses
// again. The queue's first elements do not change while only its end is appended to.
func (p *peer) request(h head, messages []any) []byte {
	b := h.append(p.buf[:0])
	for i, m := range messages {
		at := len(b)
		b = p.t.cfg.Encode(append(b, 0, 0, 0, 0), m)
		if len(b) > maxBatch && i > 0 {
			b = b[:at]
			break
		}
		binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	if p.buf = b; cap(b) > 2*maxBatch {
		p.buf = nil
	}
	return b
}

// later has the call made again after a while.
func (p *peer) later(mine uint64) {
	p.t.cfg.Clock.AfterFunc(callAgain, func() {
		p.mu.Lock()
		if p.mine == mine && p.active {
			p.ping = true
		}
		p.mu.Unlock()
		p.wake()
	})
}

// answered takes the answer to a call.
func (p *peer) answered(h head, a answer) (more bool) {
	p.mu.Lock()
	switch {
	case p.mine != h.mine: // too late
		more = p.active
		p.mu.Unlock()
		return more
	case a.verdict != taken, p.theirs != 0 && a.mine > p.theirs: // this session is over for them
		p.mu.Unlock()
		p.end(h.mine, false)
		return false
	case a.mine < p.theirs || a.mine <= p.ended: // they do not know yet that theirs is over
		p.mu.Unlock()
		p.later(h.mine)
		return false
	}
	if p.theirs == 0 {
		p.theirs, p.next = a.mine, max(p.next, 1)
	}
	p.missed = 0
	if done := a.next - p.first; a.next > p.first && done <= uint64(len(p.queue)) {
		if 2*done >= uint64(len(p.queue)) {
			p.queue = slices.Delete(p.queue, 0, int(done))
		} else { // moving what is left would cost more than it keeps
			clear(p.queue[:done])
			p.queue = p.queue[done:]
		}
		if len(p.queue) == 0 && cap(p.queue) > mostKept {
			p.queue = nil
		}
		p.first = a.next
	}
	more = len(p.queue) > 0
	p.mu.Unlock()
	return more
}

// serve takes a call of the other side.
func (p *peer) serve(h head, rest []byte) ([]byte, error) {
	p.in.Lock()
	defer p.in.Unlock()
	p.mu.Lock()
	if p.theirs != 0 && h.mine > p.theirs {
		mine := p.mine
		p.mu.Unlock()
		p.endHoldingIn(mine, false)
		p.mu.Lock()
	}
	switch {
	case h.theirs != 0 && h.theirs != p.mine:
		a := answer{other, p.mine, p.next}
		p.mu.Unlock()
		return a.encode(), nil
	case h.mine < p.theirs || h.mine <= p.ended:
		a := answer{old, p.mine, p.next}
		p.mu.Unlock()
		return a.encode(), nil
	}
	if p.theirs == 0 {
		p.theirs, p.next = h.mine, 1
	}
	p.activateLocked()
	who, next := Peer{p.number, uint32(p.theirs >> 32)}, p.next
	p.mu.Unlock()

	if h.theirs == 0 { // a greeting
		rest = nil
	}
	messages, err := p.decode(rest, h.first, next)
	if err != nil {
		return nil, err
	}
	if len(messages) > 0 {
		p.t.cfg.Receive(who, messages)
	}
	p.mu.Lock()
	p.next += uint64(len(messages))
	a := answer{taken, p.mine, p.next}
	p.mu.Unlock()
	p.wake()
	return a.encode(), nil
}

// decode reads the messages from number next on; what comes before was had, and
// what does not continue it is left for the call that does.
func (p *peer) decode(rest []byte, number, next uint64) (messages []any, err error) {
	if number > next {
		return nil, nil
	}
	messages = make([]any, 0, count(rest))
	for ; len(rest) > 0; number++ {
		var b []byte
		if b, rest, err = cut(rest); err != nil {
			return nil, err
		}
		if number < next {
			continue
		}
		m, err := p.t.cfg.Decode(b)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}
