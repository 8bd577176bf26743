package schedd

import (
	"strings"

	"sigmaos/api"
)

// record is what people are told of the descriptor of a proc that has ended. A home
// keeps 100,000 of them for each realm, which the garbage collector walks through
// again and again: so it has few pointers, and a text of its own, where the strings of
// the descriptor may be parts of a long one.
type record struct {
	text         string // program, arguments and Near, each with a NUL behind it, which none contains
	class        api.Class
	near         uint8 // how many of these are Near
	mcpu, memory int64
}

func newRecord(d *api.ProcDesc) *record {
	lists := [...][]string{{d.Program}, d.Args, d.Near}
	size := 0
	for _, l := range lists {
		for _, a := range l {
			size += len(a) + 1
		}
	}
	var b strings.Builder
	b.Grow(size)
	for _, l := range lists {
		for _, a := range l {
			b.WriteString(a)
			b.WriteByte(0)
		}
	}
	return &record{text: b.String(), class: d.Class, near: uint8(len(d.Near)), mcpu: d.MCPU, memory: d.Memory}
}

// desc is the descriptor again, as far as it was kept.
func (r *record) desc() *api.ProcDesc {
	d := &api.ProcDesc{Class: r.class, MCPU: r.mcpu, Memory: r.memory}
	all := strings.Split(strings.TrimSuffix(r.text, "\x00"), "\x00")
	if n := len(all) - int(r.near); r.near > 0 {
		all, d.Near = all[:n], all[n:]
	}
	d.Program = all[0]
	if len(all) > 1 {
		d.Args = all[1:]
	}
	return d
}

// becomeRecordLocked lets go of what an exit record has no use for. The proc must not
// have been here, where somebody may still start or end it.
func (p *proc) becomeRecordLocked() {
	p.record, p.desc, p.order, p.log = newRecord(p.desc), nil, nil, nil
}

// descLocked is p's descriptor, or what is left of it.
func (p *proc) descLocked() *api.ProcDesc {
	if p.desc == nil {
		return p.record.desc()
	}
	return p.desc
}
