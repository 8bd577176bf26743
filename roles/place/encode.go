package place

import (
	"encoding/binary"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/sched/lc"
	"sigmaos/sched/pull"
)

// A message is a byte that says which it is, and its fields in order: numbers as
// varints, text and bytes behind their length, lists behind their count. What has
// fewer bytes than its fields need, or more, is refused.
const (
	kSubmit byte = iota + 1
	kNotHere
	kRefuse
	kMoved
	kLost
	kDrop
	kKill
	kAsk
	kHint
	kGrant
	kBack
	kTaken
	kBegan
	kWrote
	kEnded
	kKept
	kHello
	kDecide
	kNewer
	kReport
	kRelease
	kRefused
)

type enc []byte

func (e *enc) u(n uint64)  { *e = binary.AppendUvarint(*e, n) }
func (e *enc) i(n int64)   { *e = binary.AppendVarint(*e, n) }
func (e *enc) s(v string)  { e.u(uint64(len(v))); *e = append(*e, v...) }
func (e *enc) b(v []byte)  { e.u(uint64(len(v))); *e = append(*e, v...) }
func (e *enc) k(kind byte) { *e = append(*e, kind) }

func (e *enc) id(kind byte, id api.ProcID) { e.k(kind); e.s(string(id)) }

func (e *enc) hint(h pull.Hint) { e.u(uint64(h.Queued)); e.i(h.Least) }

func (e *enc) from(f lc.From) {
	e.u(uint64(f.Node))
	e.u(uint64(f.Boot))
	e.u(f.Epoch)
	e.u(f.N)
}

func (e *enc) stamps(t api.Stamps) {
	for _, n := range [...]int64{t.Spawn, t.Placed, t.Slot, t.Exec, t.Started, t.Ended} {
		e.i(n)
	}
}

func (e *enc) order(o *Order) {
	if o.encoded != "" {
		*e = append(*e, o.encoded...)
		return
	}
	e.s(string(o.ID))
	e.s(o.Realm)
	e.s(o.User)
	e.s(string(o.Parent))
	e.s(o.Program.Name)
	e.s(o.Program.Digest)
	e.i(o.Program.Size)
	e.i(o.Came)
	e.u(uint64(wire.DescSize(o.Desc)))
	*e = wire.AppendDesc(*e, o.Desc)
}

func (e *enc) result(r Result) {
	e.b(wire.EncodeStatus(r.Status))
	e.stamps(r.Stamps)
	e.i(r.CPU)
	e.i(r.RSS)
	e.u(uint64(len(r.Denied)))
	for call, n := range r.Denied {
		e.i(int64(call))
		e.i(int64(n))
	}
}

func (e *enc) report(r lc.Report) {
	e.from(r.From)
	e.i(r.MCPU)
	e.i(r.Memory)
	e.u(r.Seen)
	e.u(uint64(len(r.Held)))
	for _, h := range r.Held {
		e.s(h.ID)
		e.s(h.Realm)
		e.i(h.MCPU)
		e.i(h.Memory)
		e.s(h.Group)
		e.u(uint64(len(h.Apart)))
		for _, a := range h.Apart {
			e.s(a)
		}
	}
}

func (e *enc) ask(a pull.Ask) {
	e.u(a.ID)
	e.i(a.Memory)
	e.i(int64(a.Slots))
	e.i(int64(a.Extra))
	e.i(int64(a.Cores))
	e.i(int64(a.Max))
	decline := uint64(0)
	if a.Decline {
		decline = 1
	}
	e.u(decline)
	e.u(uint64(len(a.Active)))
	for r, n := range a.Active {
		e.s(r)
		e.i(int64(n))
	}
}

// Encode appends a message to b.
func Encode(b []byte, m any) []byte {
	e := enc(b)
	switch m := m.(type) {
	case submit:
		e.k(kSubmit)
		e.order(m.o)
	case notHere:
		e.id(kNotHere, m.id)
	case refuse:
		e.id(kRefuse, m.id)
		e.b(wire.EncodeError(m.err))
	case moved:
		e.id(kMoved, m.id)
		e.u(uint64(m.to))
	case lost:
		e.id(kLost, m.id)
		e.s(m.why)
	case drop:
		e.id(kDrop, m.id)
		e.s(m.why)
	case kill:
		e.id(kKill, m.id)
		e.s(string(m.as))
		e.s(m.reason)
		e.i(m.grace)
	case ask:
		e.k(kAsk)
		e.ask(m.a)
	case hint:
		e.k(kHint)
		e.hint(m.h)
	case grant:
		e.k(kGrant)
		e.u(m.id)
		e.hint(m.h)
		e.u(uint64(len(m.orders)))
		for _, o := range m.orders {
			e.order(o)
		}
	case back:
		e.k(kBack)
		e.order(m.o)
	case taken:
		e.id(kTaken, m.id)
	case began:
		e.id(kBegan, m.id)
		e.stamps(m.stamps)
	case wrote:
		e.id(kWrote, m.id)
		e.u(uint64(m.stream))
		e.b(m.data)
	case ended:
		e.id(kEnded, m.id)
		e.result(m.r)
	case kept:
		e.id(kKept, m.id)
		e.u(uint64(m.n))
	case hello:
		e.k(kHello)
		e.u(m.h.Epoch)
		e.u(m.h.Seq)
	case decide:
		e.k(kDecide)
		e.u(m.epoch)
		e.u(m.seq)
		e.order(m.o)
	case newer:
		e.k(kNewer)
		e.u(m.epoch)
	case report:
		e.k(kReport)
		e.report(m.r)
	case release:
		e.id(kRelease, m.id)
		e.from(m.from)
	case refused:
		e.id(kRefused, m.id)
		e.from(m.from)
	default:
		panic("place: a message of unknown type") // of this package alone
	}
	return e
}
