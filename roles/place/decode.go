package place

import (
	"encoding/binary"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/sched/lc"
	"sigmaos/sched/pull"
)

// maxList bounds what a count makes us allocate before its elements were seen.
const maxList = 4096

// dec reads what enc wrote; bad once something does not fit.
type dec struct {
	rest []byte
	bad  bool
}

func (d *dec) fail() {
	d.bad, d.rest = true, nil
}

func (d *dec) u() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *dec) i() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *dec) node() uint16 {
	n := d.u()
	if n > 1<<16-1 {
		d.fail()
	}
	return uint16(n)
}

// raw is valid as long as the message's bytes.
func (d *dec) raw() []byte {
	n := d.u()
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

func (d *dec) s() string { return string(d.raw()) }

func (d *dec) id() api.ProcID { return api.ProcID(d.raw()) }

// count is that of a list whose elements take at least a byte each.
func (d *dec) count() int {
	n := d.u()
	if n > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *dec) hint() pull.Hint { return pull.Hint{Queued: int(d.u()), Least: d.i()} }

func (d *dec) from() lc.From {
	return lc.From{Node: d.node(), Boot: uint32(d.u()), Epoch: d.u(), N: d.u()}
}

func (d *dec) stamps() (t api.Stamps) {
	for _, p := range [...]*int64{&t.Spawn, &t.Placed, &t.Slot, &t.Exec, &t.Started, &t.Ended} {
		*p = d.i()
	}
	return t
}

// order reads an order in two steps: the first finds its end, and the second cuts its
// text out of one copy, which is also what is sent on.
func (d *dec) order() *Order {
	from := d.rest
	for range 6 {
		d.raw()
	}
	d.i()
	d.i()
	d.raw()
	if d.bad {
		return new(Order)
	}
	o, ok := cutOrder(string(from[:len(from)-len(d.rest)]))
	if !ok {
		d.fail()
	}
	return o
}

// text is dec's second step: it reads what dec has walked through.
type text string

func (t *text) u() (n uint64) {
	for i, shift := 0, 0; i < len(*t); i, shift = i+1, shift+7 {
		b := (*t)[i]
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			*t = (*t)[i+1:]
			return n
		}
	}
	return 0
}

func (t *text) i() int64 {
	n := t.u()
	return int64(n>>1) ^ -int64(n&1)
}

func (t *text) s() string {
	n := t.u()
	v := string((*t)[:n])
	*t = (*t)[n:]
	return v
}

func cutOrder(s string) (o *Order, ok bool) {
	t := text(s)
	o = &Order{
		ID: api.ProcID(t.s()), Realm: t.s(), User: t.s(), Parent: api.ProcID(t.s()),
		Program: api.Program{Name: t.s(), Digest: t.s(), Size: t.i()}, Came: t.i(), encoded: s,
	}
	var err error
	o.Desc, err = wire.DescIn(t.s())
	if _, _, ok := o.ID.Home(); err != nil || !ok || o.Realm == "" || o.Desc.Memory < 0 || o.Desc.MCPU < 0 {
		return o, false
	}
	return o, true
}

func (d *dec) orders() []*Order {
	n := d.count()
	list := make([]*Order, 0, min(n, maxList))
	for range n {
		if list = append(list, d.order()); d.bad {
			return nil
		}
	}
	return list
}

func (d *dec) result() (r Result) {
	st, err := wire.DecodeStatus(d.raw())
	if err != nil {
		d.fail()
	}
	r = Result{Status: st, Stamps: d.stamps(), CPU: d.i(), RSS: d.i()}
	for n := d.count(); n > 0 && !d.bad; n-- {
		if r.Denied == nil {
			r.Denied = make(map[int]int)
		}
		call := int(d.i())
		r.Denied[call] = int(d.i())
	}
	return r
}

func (d *dec) report() lc.Report {
	r := lc.Report{From: d.from(), MCPU: d.i(), Memory: d.i(), Seen: d.u()}
	for n := d.count(); n > 0 && !d.bad; n-- {
		h := lc.Held{ID: d.s(), Realm: d.s(), MCPU: d.i(), Memory: d.i(), Group: d.s()}
		for k := d.count(); k > 0 && !d.bad; k-- {
			h.Apart = append(h.Apart, d.s())
		}
		r.Held = append(r.Held, h)
	}
	return r
}

func (d *dec) ask() pull.Ask {
	a := pull.Ask{ID: d.u(), Memory: d.i(), Slots: int(d.i()), Extra: int(d.i()), Cores: int(d.i()), Max: int(d.i())}
	a.Decline = d.u() == 1
	a.Active = make(map[string]int)
	for n := d.count(); n > 0 && !d.bad; n-- {
		r := d.s()
		a.Active[r] = int(d.i())
	}
	return a
}

func (d *dec) error() *api.Error {
	return wire.DecodeError(d.raw())
}

func (d *dec) message(kind byte) any {
	switch kind {
	case kSubmit:
		return submit{d.order()}
	case kNotHere:
		return notHere{d.id()}
	case kRefuse:
		return refuse{d.id(), d.error()}
	case kMoved:
		return moved{d.id(), d.node()}
	case kLost:
		return lost{d.id(), d.s()}
	case kDrop:
		return drop{d.id(), d.s()}
	case kKill:
		return kill{d.id(), api.State(d.s()), d.s(), d.i()}
	case kAsk:
		return ask{d.ask()}
	case kHint:
		return hint{d.hint()}
	case kGrant:
		return grant{d.u(), d.hint(), d.orders()}
	case kBack:
		return back{d.order()}
	case kTaken:
		return taken{d.id()}
	case kBegan:
		return began{d.id(), d.stamps()}
	case kWrote:
		return wrote{d.id(), int(d.u()), append([]byte(nil), d.raw()...)}
	case kEnded:
		return ended{d.id(), d.result()}
	case kKept:
		return kept{d.id(), int(d.u())}
	case kHello:
		return hello{lc.Hello{Epoch: d.u(), Seq: d.u()}}
	case kDecide:
		epoch, seq := d.u(), d.u()
		return decide{d.order(), epoch, seq}
	case kNewer:
		return newer{d.u()}
	case kReport:
		return report{d.report()}
	case kRelease:
		id := d.id()
		return release{d.from(), id}
	case kRefused:
		id := d.id()
		return refused{d.from(), id}
	}
	d.fail()
	return nil
}

// Decode reads a message; it keeps nothing of b.
func Decode(b []byte) (any, error) {
	if len(b) == 0 {
		return nil, api.E(api.Invalid, "place", "", "an empty message")
	}
	d := dec{rest: b[1:]}
	m := d.message(b[0])
	if d.bad || len(d.rest) > 0 {
		return nil, api.E(api.Invalid, "place", "", "a message of kind %d and %d bytes that does not fit", b[0], len(b))
	}
	return m, nil
}
