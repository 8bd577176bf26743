package named

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"

	"sigmaos/api"
)

// opKind is what a client of the linearizability test does with one file.
type opKind int

const (
	opGet opKind = iota
	opPut
	opAppend
	opCAS
	opCreate
	opRemove
)

type input struct {
	kind  opKind
	file  string
	value string // written; every value is written once
	ifVer uint64 // of opCAS
}

type output struct {
	unknown bool // the answer did not come, or said that it does not know
	kind    api.Kind
	value   string
	version uint64
}

// register is a file in the model. A version of 0 is one that nobody was told;
// it is above floor, the last one that somebody was.
type register struct {
	there   bool
	value   string
	version uint64
	floor   uint64
}

// write makes the next register, if the version can be.
func (s register) write(value string, out output) (bool, register) {
	if out.unknown {
		return true, register{true, value, 0, s.floor}
	}
	return out.version > s.floor, register{true, value, out.version, out.version}
}

// read tells a version.
func (s register) read(out output) (bool, register) {
	ok := s.there && s.value == out.value && (s.version == out.version || s.version == 0 && out.version > s.floor)
	return ok, register{true, out.value, out.version, out.version}
}

// fileModel is what a file is: a register with exclusive create, remove,
// compare-and-set and append. Operations of unknown outcome have no end, so
// they may take effect at any time, or behind all that was seen.
var fileModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		by := make(map[string]int)
		for _, o := range history {
			f := o.Input.(input).file
			i, ok := by[f]
			if !ok {
				i = len(parts)
				by[f] = i
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], o)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(state, in, out any) (bool, any) {
		return step(state.(register), in.(input), out.(output))
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
}

func step(s register, in input, out output) (bool, register) {
	switch in.kind {
	case opGet:
		if out.kind == api.NotFound {
			return !s.there, s
		}
		return s.read(out)
	case opPut:
		return s.write(in.value, out)
	case opAppend:
		return s.write(s.value+in.value, out)
	case opCAS:
		matches := s.there && s.version == in.ifVer
		switch {
		case out.kind == api.Conflict:
			return !matches, s
		case matches, !out.unknown && s.there && s.version == 0:
			return s.write(in.value, out)
		}
		return out.unknown, s // a version that nobody was told is not one that was asked for
	case opCreate:
		if out.kind == api.Exists || out.unknown && s.there {
			return s.there, s
		}
		ok, n := s.write(in.value, out)
		return ok && !s.there, n
	default: // opRemove
		if out.kind == api.NotFound || out.unknown && !s.there {
			return !s.there, s
		}
		return s.there, register{floor: s.floor}
	}
}

func (k opKind) String() string {
	return strings.Fields("get put append cas create remove")[k]
}
