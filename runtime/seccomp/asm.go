package seccomp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// prog assembles classic BPF with labels; jumps go forward only.
type prog struct {
	ins    []ins
	labels []int // instruction that a label marks
}

type ins struct {
	code   uint16
	k      uint32
	jt, jf int // labels; 0 is the next instruction
}

func (p *prog) label() int {
	p.labels = append(p.labels, -1)
	return len(p.labels)
}

func (p *prog) mark(l int) { p.labels[l-1] = len(p.ins) }

func (p *prog) load(offset uint32) {
	p.ins = append(p.ins, ins{code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, k: offset})
}

func (p *prog) loadNr() { p.load(0) }

func (p *prog) ret(v uint32) {
	p.ins = append(p.ins, ins{code: unix.BPF_RET | unix.BPF_K, k: v})
}

// jump compares the accumulator with k: to jt when it holds, else to jf.
func (p *prog) jump(op uint16, k uint32, jt, jf int) {
	p.ins = append(p.ins, ins{code: unix.BPF_JMP | op | unix.BPF_K, k: k, jt: jt, jf: jf})
}

// prologue ends processes of a foreign architecture or convention.
func (p *prog) prologue(audit uint32, x32 bool) {
	ok := p.label()
	p.load(4)
	p.jump(unix.BPF_JEQ, audit, ok, 0)
	p.ret(retKill)
	p.mark(ok)
	p.loadNr()
	if x32 {
		ok := p.label()
		p.jump(unix.BPF_JGE, x32Bit, 0, ok)
		p.ret(retKill)
		p.mark(ok)
	}
}

// tree decides between sorted numbers by halves; leaf emits what happens for
// one, others get deny.
func (p *prog) tree(nrs []int, leaf func(int), deny uint32) {
	if len(nrs) == 1 {
		no := p.label()
		p.jump(unix.BPF_JEQ, uint32(nrs[0]), 0, no)
		leaf(nrs[0])
		p.mark(no)
		p.ret(deny)
		return
	}
	mid := len(nrs) / 2
	right := p.label()
	// A far jump: the offset of a conditional one has 8 bits only.
	near := p.label()
	p.jump(unix.BPF_JGE, uint32(nrs[mid]), 0, near)
	p.ins = append(p.ins, ins{code: unix.BPF_JMP | unix.BPF_JA, jt: right})
	p.mark(near)
	p.tree(nrs[:mid], leaf, deny)
	p.mark(right)
	p.tree(nrs[mid:], leaf, deny)
}

// conditions goes on when one of the alternatives holds, else returns deny.
// Arguments are 64 bits at offset 16 of seccomp_data, low half first.
func (p *prog) conditions(alts []cond, deny uint32) {
	yes := p.label()
	for _, alt := range alts {
		no := p.label()
		for _, a := range alt {
			for half, shift := uint32(0), uint(0); half < 2; half, shift = half+1, shift+32 {
				mask, value := uint32(a.mask>>shift), uint32(a.value>>shift)
				if mask == 0 {
					continue
				}
				p.load(16 + 8*uint32(a.index) + 4*half)
				if mask != 0xffffffff {
					p.ins = append(p.ins, ins{code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, k: mask})
				}
				p.jump(unix.BPF_JEQ, value, 0, no)
			}
		}
		p.ins = append(p.ins, ins{code: unix.BPF_JMP | unix.BPF_JA, jt: yes})
		p.mark(no)
	}
	p.ret(deny)
	p.mark(yes)
}

func (p *prog) assemble() ([]unix.SockFilter, error) {
	if len(p.ins) > 4096 {
		return nil, fmt.Errorf("seccomp: %d instructions; the kernel takes 4096", len(p.ins))
	}
	to := func(at, label int) (uint32, error) {
		if label == 0 {
			return 0, nil
		}
		d := p.labels[label-1] - at - 1
		if p.labels[label-1] < 0 || d < 0 {
			return 0, fmt.Errorf("seccomp: instruction %d jumps back or nowhere", at)
		}
		return uint32(d), nil
	}
	out := make([]unix.SockFilter, len(p.ins))
	for i, in := range p.ins {
		out[i] = unix.SockFilter{Code: in.code, K: in.k}
		jt, err := to(i, in.jt)
		if err != nil {
			return nil, err
		}
		jf, err := to(i, in.jf)
		if err != nil {
			return nil, err
		}
		if in.code == unix.BPF_JMP|unix.BPF_JA {
			out[i].K = jt
			continue
		}
		if jt > 255 || jf > 255 {
			return nil, fmt.Errorf("seccomp: a jump of instruction %d is too far", i)
		}
		out[i].Jt, out[i].Jf = uint8(jt), uint8(jf)
	}
	return out, nil
}
