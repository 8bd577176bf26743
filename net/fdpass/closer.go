package fdpass

import (
	"sync"
	"time"
)

// Closer closes connections a little later than it is asked to, several at a
// time. To close is a system call that the Go scheduler is told of, and the first
// such call after an idle moment wakes the run-time's monitor thread, which then
// stays up for a while: where thousands of short connections end every second,
// that costs more than all else about their end. It is for connections whose peer
// has ended, so that nobody waits for the close.
type Closer struct {
	after time.Duration

	mu    sync.Mutex
	queue []*Conn
	timer *time.Timer // not nil while the queue is not empty
	ended bool
}

// NewCloser returns a Closer that closes within after.
func NewCloser(after time.Duration) *Closer { return &Closer{after: after} }

// Close takes c over and closes it soon; at once after [Closer.End].
func (l *Closer) Close(c *Conn) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		c.Close()
		return
	}
	l.queue = append(l.queue, c)
	if l.timer == nil {
		l.timer = time.AfterFunc(l.after, l.sweep)
	}
	l.mu.Unlock()
}

func (l *Closer) sweep() {
	l.mu.Lock()
	all := l.queue
	l.queue, l.timer = nil, nil
	l.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// End closes what is left.
func (l *Closer) End() {
	l.mu.Lock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.sweep()
}
