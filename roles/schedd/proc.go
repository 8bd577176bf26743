package schedd

import (
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/roles/place"
	"sigmaos/runtime/logs"
	"sigmaos/runtime/slot"
)

// proc is one run of a program. Schedd.mu guards what changes.
type proc struct {
	id      api.ProcID
	desc    *api.ProcDesc
	prog    api.Program
	caller  api.Caller // of Spawn
	realm   *realm
	log     *logs.Log // from the Spawn on, so that it can be followed
	created time.Time
	started moment // Started
	done    moment // it is final

	state    api.State
	stamps   api.Stamps
	slot     *slot.Slot // while it has one
	ctlDone  chan struct{}
	reported *wire.Exit
	ending   api.State // Killed or Evicted once that was asked for
	reason   string
	asked    chan struct{} // closed when Kill asks; made by who comes first
	grace    time.Duration
	timer    *time.Timer
	status   api.Status
	cpu      time.Duration
	rss      int64
	denied   map[int]int
	order    *place.Order
	tap      *tap    // of a guest
	record   *record // instead of desc, order and log

	seq       uint32 // of its start in the slot
	again     int32  // starts that met a dead mount
	waitKills int32  // under way
	node      uint16 // that has taken it; 0 until one has
	starved   bool   // it ended for want of bytes of its program
	gone      bool   // from this machine, if it was here
	guest     bool   // its home is another node: what is kept here goes with it
}

func (p *proc) lc() bool { return p.desc.Class == api.LC }

// statusLocked says what e means for p.
func (p *proc) statusLocked(e slot.End) api.Status {
	switch {
	case e.OOM:
		return api.Status{State: api.OOM, Signal: 9, Message: "needed more memory than its limit of " + size(p.desc.Memory)}
	case p.ending != "" && (e.Died || e.Stage != 0 || e.Status.Signaled()):
		return api.Status{State: p.ending, Signal: 9, Message: p.reason}
	case e.Died:
		return api.Status{State: api.Lost, Message: "its σcontainer died"}
	case e.Stage != 0:
		return api.Status{State: api.Refused, Message: refusal(e)}
	case e.Taken == 0 && e.Exec == 0:
		return api.Status{State: api.Refused, Message: "ended before exec"}
	case e.Status.Signaled():
		sig := e.Status.Signal()
		st := api.Status{State: api.Signal, Signal: int(sig), Message: sig.String()}
		if p.starved {
			st.Message += ": " + starvedText
		}
		return st
	}
	st := api.Status{State: api.Exited, Code: e.Status.ExitStatus()}
	if r := p.reported; r != nil {
		if st.Code == 0 {
			st.Code = int(int32(r.Code))
		}
		st.Message, st.Data = r.Message, r.Data
	}
	return st
}

const starvedText = "its program's bytes could not be had: no node or store gave right ones in time; sigmad's log says who was asked"

func refusal(e slot.End) string {
	switch {
	case e.Stage == slot.StageOpen && e.Errno == syscall.ENOENT:
		return "the program is not in the store of this node any more"
	case e.Errno == syscall.EIO:
		return "the program's bytes could not be had: no node or store gave right ones in time; sigmad's log says who was asked"
	case e.Errno == syscall.ENOTCONN || e.Errno == syscall.ECONNABORTED:
		return "the node's mount of programs was lost at that moment; it is back within a second, spawn again"
	case e.Stage == slot.StageExec && e.Errno == syscall.ENOEXEC:
		return "the kernel cannot run this program (wrong format)"
	case e.Stage == slot.StageExec && e.Errno == syscall.ENOMEM:
		return "exec: not enough memory for its arguments and image under its limit"
	}
	return e.Err().Error()
}

func size(n int64) string {
	for _, u := range []struct {
		n int64
		s string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.n {
			v := float64(n) / float64(u.n)
			if n%u.n == 0 {
				return trimZero(v, 0) + " " + u.s
			}
			return trimZero(v, 1) + " " + u.s
		}
	}
	return trimZero(float64(n), 0) + " bytes"
}
