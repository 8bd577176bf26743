package schedd

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/failpoint"
	"sigmaos/net/control"
	"sigmaos/net/fdpass"
	"sigmaos/roles/place"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/slot"
)

// restTime is how soon a slot that was not ready for a small proc is tried
// again.
const restTime = 2 * time.Millisecond

// closeTime is how long the channel of a proc that ended may stay open.
const closeTime = 5 * time.Millisecond

// A start that met a dead mount is made again when binfs is back, which takes a
// fraction of a second.
const (
	againTime = 100 * time.Millisecond
	maxAgain  = 20
)

// getSlot asks for a slot; a start that fails because of its slot is tried
// again in another one. The proc was never exec'ed then.
func (s *Schedd) getSlot(p *proc, tries int) {
	class := cgroup.BE
	if p.lc() {
		class = cgroup.LC
	}
	s.cfg.Pool.Get(p.realm.rec.ID, class, p.desc.FDs, func(sl *slot.Slot, err error) {
		if err == nil {
			err = s.begin(p, sl)
			if err == nil {
				return
			}
			s.cfg.Pool.Put(sl)
			if errors.Is(err, slot.ErrResting) {
				s.wg.Add(1)
				time.AfterFunc(restTime, func() { defer s.wg.Done(); s.getSlot(p, tries) })
				return
			}
			if tries > 1 && err != errEnded {
				s.log.Warn("slot refused a start", "proc", p.id, "err", err)
				s.getSlot(p, tries-1)
				return
			}
		}
		s.leave(p, api.Status{State: api.Refused, Message: "no σcontainer: " + err.Error()}, nil)
	})
}

var errEnded = api.E(api.Canceled, "start", "", "it was ended before it started")

// begin hands p to a slot.
func (s *Schedd) begin(p *proc, sl *slot.Slot) error {
	ours, fd, err := fdpass.Pair(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	theirs := slot.Donated(fd)
	s.mu.Lock()
	if p.ending != "" || p.gone {
		s.mu.Unlock()
		ours.Close()
		theirs.Close()
		return errEnded
	}
	p.slot, p.seq = sl, sl.Seq()+1
	p.stamps.Slot = monotonic()
	p.ctlDone = make(chan struct{})
	s.mu.Unlock()
	failpoint.Hit("begin")

	caller := api.Caller{Node: s.cfg.Info.Node, Realm: p.caller.Realm, User: p.caller.User, Proc: p.id, Class: p.desc.Class}
	s.wg.Add(1)
	go func(done chan struct{}) {
		defer s.wg.Done()
		if err := control.Serve(s.ctx, channel{ours, s.closer}, caller, procHandler{s, p}, s.cfg.Endpoints); err != nil {
			s.log.Debug("control channel", "proc", p.id, "err", err)
		}
		close(done)
	}(p.ctlDone)

	err = sl.Start(slot.Spec{
		Program: p.prog.Digest, Arg0: p.desc.Program, Args: p.desc.Args, Env: p.desc.Env,
		FDs: p.desc.FDs, Memory: p.desc.Memory, Threads: p.desc.Threads, MCPU: p.desc.MCPU,
		Control: theirs, Log: p.log,
	}, func(e slot.End) { s.ended(p, sl, e) })
	failpoint.Hit("sent")
	if err != nil {
		<-p.ctlDone
		s.mu.Lock()
		p.slot = nil
		s.mu.Unlock()
	}
	return err
}

// ended has the end of a proc from its slot. Its channel ends with it, after
// the frames it still wrote.
func (s *Schedd) ended(p *proc, sl *slot.Slot, e slot.End) {
	<-p.ctlDone
	failpoint.Hit("ended")
	s.cfg.Endpoints.ProcEnded(p.id)
	starved := s.starved(p, e)
	s.mu.Lock()
	p.slot, p.starved = nil, starved
	if e.TryAgain() && p.ending == "" && !s.closed && p.again < maxAgain {
		p.again++
		s.wg.Add(1)
		s.mu.Unlock()
		s.cfg.Pool.Put(sl)
		time.AfterFunc(againTime, func() { defer s.wg.Done(); s.getSlot(p, 3) })
		return
	}
	p.stamps.Exec = e.Exec
	p.cpu, p.rss = e.CPU, e.RSS
	p.denied = e.Denied
	for _, n := range e.Denied {
		s.total.DeniedCalls += int64(n)
	}
	st := p.statusLocked(e)
	s.mu.Unlock()
	s.leave(p, st, func() { s.cfg.Pool.Put(sl) })
}

// starved says whether a proc ended for want of bytes of its program: the kernel
// gives a signal for a page that cannot be read, also in the middle of an exec.
func (s *Schedd) starved(p *proc, e slot.End) bool {
	sig := e.Status.Signal()
	if e.Stage != 0 || !e.Status.Signaled() || sig != syscall.SIGBUS && sig != syscall.SIGSEGV || s.cfg.ColdStart == nil {
		return false
	}
	s.mu.Lock()
	began := p.stamps.Slot
	s.mu.Unlock()
	c := s.cfg.ColdStart(p.realm.rec.ID, p.prog.Digest)
	return c != nil && c.Failed >= began
}

// leave tells that p is gone from this machine, once. then is called when its end
// was told and before another proc is started in its place.
func (s *Schedd) leave(p *proc, st api.Status, then func()) {
	now := monotonic()
	s.mu.Lock()
	if p.gone {
		s.mu.Unlock()
		if then != nil {
			then()
		}
		return
	}
	p.gone = true
	if p.ending != "" && st.State == api.Refused {
		st = api.Status{State: p.ending, Message: p.reason}
	}
	p.stamps.Ended = now
	if p.timer != nil {
		p.timer.Stop()
	}
	r := place.Result{Status: st, Stamps: p.stamps, CPU: int64(p.cpu), RSS: p.rss, Denied: p.denied}
	if p.guest {
		p.state, p.status = st.State, st
		delete(p.realm.guests, p.id)
		p.done.nowLocked()
	}
	s.overLocked(p)
	s.mu.Unlock()
	if p.guest {
		p.tap.flush(true)
	}
	s.place.Ended(p.id, r, then)
}

// channel is sigmad's end of a proc's control channel. It ends with the proc, so
// nobody waits for its close.
type channel struct {
	*fdpass.Conn
	closer *fdpass.Closer
}

func (c channel) Close() error {
	c.closer.Close(c.Conn)
	return nil
}
