// Package seccomp is the list of system calls that a proc may make, as data,
// and its assembly into the filter of a slot.
//
// The filter is loaded once, by the slot's PID 1. It has the list, and four
// calls that PID 1 itself needs to start and end procs; these pass only with a
// random key of 64 bits in the sixth argument, which the kernel ignores for
// them. PID 1 has the key in its memory and registers; exec replaces the one and
// clears the others, so a proc never sees it, and a guess costs a round trip to
// sigmad. A second, narrowing filter per start would do the same without a key,
// and cost a tenth of the machine's starts for its compilation.
//
// What the filter does not allow it hands to sigmad, which refuses and notes
// the number, so that `sigmactl why` can name the call.
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
func InitOnly() []Call { return slices.Clone(initOnly) }

// Filter assembles a slot's filter: key is what PID 1 shows with its own calls,
// execFD the one descriptor that it may exec.
func Filter(arch string, execFD int, key uint64) ([]unix.SockFilter, error) {
	const deny = retNotify
	a, ok := archs[arch]
	if !ok {
		return nil, fmt.Errorf("seccomp: no list for %s", arch)
	}
	byNr := make(map[int][]cond)
	always := make(map[int]bool)
	list := Allowed(arch)
	for _, c := range initOnly {
		keyed := c
		keyed.conds = nil
		for _, alt := range c.conds {
			keyed.conds = append(keyed.conds, append(slices.Clone(alt), arg{5, all64, key}))
		}
		list = append(list, keyed)
	}
	for _, c := range list {
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
