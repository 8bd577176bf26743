package ninep

import (
	"context"
	"os"

	"sigmaos/api"
)

// asked is a message that a client sends.
type asked interface {
	message
	fids() uses
	run(r *request) (message, error)
}

// request is one message on its way to its answer.
type request struct {
	s      *server
	tag    uint16
	typ    uint8
	m      asked
	frame  *buffer // m's bytes may be part of it
	ctx    context.Context
	cancel context.CancelFunc
	cost   int

	turns [2]turn
	fid   [2]*fid // of the turns; nil: there is none
	fresh *fid    // one of them, which this request made

	file *os.File // to be sent with the answer; closed behind it

	walked bool // the last walk found all names of a path

	// Guarded by s.mu.
	answering bool
	watcher   *watcher
	flushes   []uint16 // tags of Tflush that wait for the answer
}

func (r *request) watch() bool { return r.typ == tSwatch }

// ends says that a fid ends with r, whatever comes of it.
func (r *request) ends() bool { return r.typ == tClunk || r.typ == tRemove || r.typ == tSabandon }

// serve runs r in its own goroutine.
func (r *request) serve() {
	defer r.s.wg.Done()
	had, err := r.await()
	var m message
	if err == nil {
		m, err = r.run()
	}
	if had {
		r.leave()
		r.answer(m, err)
	} else { // answered at once; its turn comes when it comes
		r.abandon()
		r.answer(nil, err)
		r.waitOut()
		r.leave()
	}
	r.cancel()
	r.s.pool.put(r.frame)
}

// await returns when r may run; had says that it had its turn on every fid.
func (r *request) await() (had bool, err error) {
	ctx := r.ctx
	if r.ends() {
		ctx = context.Background() // the fid ends, flushed or not; those before it can be cancelled
	}
	for i := range r.turns {
		if r.fid[i] != nil {
			if err := r.turns[i].wait(ctx); err != nil {
				return false, err
			}
		}
	}
	for _, f := range r.fid {
		if f != nil && f != r.fresh && f.place == nil {
			return true, badFid("request", f.num, "is not in use")
		}
	}
	return true, nil
}

// waitOut waits for the turn of a request that was cancelled before it: what
// comes behind it must not overtake what came before.
func (r *request) waitOut() {
	for i := range r.turns {
		if r.fid[i] != nil && r.turns[i].own != nil {
			r.turns[i].wait(context.Background())
		}
	}
}

// run calls the operation, one of so many at a time.
func (r *request) run() (message, error) {
	if !r.watch() {
		select {
		case r.s.slots <- struct{}{}:
			defer func() { <-r.s.slots }()
		case <-r.ctx.Done():
			if !r.ends() {
				return nil, r.ctx.Err()
			}
		}
	}
	for try := 0; ; try++ {
		r.walked = false
		m, err := r.m.run(r)
		if !r.walked || try == maxAgain || api.KindOf(err) != api.NotFound {
			return m, err
		}
	}
}

// maxAgain is how often an operation by path is done again when what it walked
// to was gone before it was done there. A name that others rename over is there
// at any time, and is found.
const maxAgain = 3

// abandon frees the fid that was to be made and was not.
func (r *request) abandon() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.abandonLocked()
}

func (r *request) abandonLocked() {
	if f := r.fresh; f != nil && f.place == nil && r.s.fids[f.num] == f {
		delete(r.s.fids, f.num)
	}
}

// leave gives the turns back.
func (r *request) leave() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.abandonLocked()
	for i := range r.turns {
		if r.fid[i] != nil {
			r.turns[i].leaveLocked()
			r.fid[i] = nil
		}
	}
}

// answer sends the answer, then those of the flushes that waited for it. Until
// all are sent the tag is in use.
func (r *request) answer(m message, err error) {
	s := r.s
	s.mu.Lock()
	r.answering = true
	if r.watch() {
		s.ending++
	}
	s.mu.Unlock()
	if f, ok := m.(*framed); ok && err == nil {
		s.out.send(f.finish(r))
		s.pool.put(f.buffer)
	} else if err != nil {
		s.tell(r.tag, err)
	} else {
		s.send(r.tag, r.typ+1, m, r.file)
	}
	if r.file != nil {
		r.file.Close()
	}
	for {
		s.mu.Lock()
		tags := r.flushes
		if r.flushes = nil; tags == nil {
			delete(s.reqs, r.tag)
			s.endLocked(r)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for _, t := range tags {
			s.send(t, tFlush+1, &empty{}, nil)
		}
	}
}
