// Package seccomp is the list of system calls that a proc may make, as data,
// and its assembly into the two filters of a slot.
//
// The outer filter is PID 1's and so everybody's: the list, and what PID 1
// itself needs. What it does not allow it hands to sigmad, which refuses and
// notes the number, so that `sigmactl why` can name the call. The inner filter
// is added by PID 1's child before it waits for a program. It is short, for
// loading it is part of every start: it takes back what only PID 1 needs. Since
// filters can only narrow, what a proc may call is what is left of both.
//
// A foreign architecture and the x32 numbers end the process.
//
// elastic/go-seccomp-bpf assembles neither user notifications nor conditions on
// all 64 bits of an argument in the alternatives needed here, and walks its
// list linearly; the assembler here is a decision tree of two hundred lines.
package seccomp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"golang.org/x/sys/unix"
)

const (
	retKill   = 0x80000000
	retErrno  = 0x00050000
	retNotify = 0x7fc00000
	retAllow  = 0x7fff0000

	x32Bit = 0x40000000
)

var archs = map[string]struct {
	audit   uint32
	numbers map[string]int
}{
	"amd64": {0xc000003e, numbersAMD64},
	"arm64": {0xc00000b7, numbersARM64},
}

// Allowed lists what a proc may call on arch.
func Allowed(arch string) []Call {
	return append(slices.Clone(common), extra[arch]...)
}

// InitOnly lists what PID 1 of a slot may call beyond that.
func InitOnly(string) []Call { return slices.Clone(initOnly) }

// Outer assembles PID 1's filter.
func Outer(arch string, execFD int) ([]unix.SockFilter, error) {
	return outer(arch, execFD, retNotify)
}

func outer(arch string, execFD int, deny uint32) ([]unix.SockFilter, error) {
	a, ok := archs[arch]
	if !ok {
		return nil, fmt.Errorf("seccomp: no list for %s", arch)
	}
	byNr := make(map[int][]cond)
	always := make(map[int]bool)
	for _, c := range append(Allowed(arch), initOnly...) {
		nr, ok := a.numbers[c.Name]
		if !ok {
			return nil, fmt.Errorf("seccomp: %s has no call %s", arch, c.Name)
		}
		if c.conds == nil {
			always[nr] = true
		}
		for _, alt := range c.conds {
			if c.Name == "execveat" {
				alt = append(slices.Clone(alt), eq32(0, uint64(execFD)))
			}
			byNr[nr] = append(byNr[nr], alt)
		}
		if _, ok := byNr[nr]; !ok {
			byNr[nr] = nil
		}
	}
	var nrs []int
	for nr := range byNr {
		nrs = append(nrs, nr)
	}
	sort.Ints(nrs)
	p := &prog{}
	p.prologue(a.audit, arch == "amd64")
	p.tree(nrs, func(nr int) {
		if !always[nr] {
			p.conditions(byNr[nr], deny)
		}
		p.ret(retAllow)
	}, deny)
	return p.assemble()
}

// Inner assembles the filter of PID 1's child.
func Inner(arch string, execFD int) ([]unix.SockFilter, error) {
	a, ok := archs[arch]
	if !ok {
		return nil, fmt.Errorf("seccomp: no list for %s", arch)
	}
	const deny = retErrno | uint32(unix.EPERM)
	p := &prog{}
	p.loadNr()
	for _, name := range []string{"clone", "wait4", "kill", "seccomp"} {
		next := p.label()
		p.jump(unix.BPF_JEQ, uint32(a.numbers[name]), 0, next)
		if name == "clone" { // the outer filter has compared the other bits
			p.load(16)
			no := p.label()
			p.jump(unix.BPF_JEQ, cloneInit, 0, no)
			p.ret(deny)
			p.mark(no)
			p.ret(retAllow)
		} else {
			p.ret(deny)
		}
		p.mark(next)
	}
	p.ret(retAllow)
	return p.assemble()
}

// Name is the call's name, or "call N".
func Name(arch string, nr int) string {
	for n, v := range archs[arch].numbers {
		if v == nr {
			return n
		}
	}
	return fmt.Sprintf("call %d", nr)
}

// Answer is the error that a denied call gets.
func Answer(arch string, nr int) unix.Errno {
	highest := 0
	for n, v := range archs[arch].numbers {
		if v == nr {
			if soft[n] {
				return unix.ENOSYS
			}
			return unix.EPERM
		}
		highest = max(highest, v)
	}
	return unix.ENOSYS
}

// Bytes is a filter as the kernel takes it: 8 bytes an instruction.
func Bytes(f []unix.SockFilter) []byte {
	b := make([]byte, 0, 8*len(f))
	for _, i := range f {
		b = binary.NativeEndian.AppendUint16(b, i.Code)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b
}
