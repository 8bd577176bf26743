package rpc

import (
	"time"

	"sigmaos/api"
)

// startBeatLocked begins to watch for signs of life, where that is asked for,
// and to give them.
//
// Silence is counted in heartbeats without a byte, not in time: after a pause of
// this process itself the other side gets its chance to be heard. While the
// reading goroutine of a server waits for a write, the bytes that get written
// are the signs of life: a peer that reads slowly lives, one that has stopped
// does not.
//
// A side that has sent nothing for a heartbeat sends a ping, whatever it has
// heard, so that no sign of life has to wait behind what it answers.
func (l *link) startBeatLocked() {
	every := l.opt.Heartbeat
	if every <= 0 || l.err != nil {
		return
	}
	most := int((l.opt.Silence + every - 1) / every)
	var heard, wrote uint32
	missed := 0
	l.beat = time.AfterFunc(every, func() {
		lastHeard, lastWrote := heard, wrote
		heard, wrote = l.in.heard.Load(), l.wrote.Load()
		if heard != lastHeard || wrote != lastWrote && l.paused.Load() {
			missed = 0
		} else if missed++; missed >= most {
			l.fail(api.E(api.Unavailable, "rpc", "", "nothing was heard for %v", time.Duration(missed)*every))
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err != nil {
			return
		}
		if wrote == lastWrote && !l.writing && len(l.out) == 0 {
			l.out = appendFrame(l.out, kPing, 0, 0, "", nil)
			l.wakeLocked()
		}
		l.beat.Reset(every)
	})
}
