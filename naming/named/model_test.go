package named

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"

	"sigmaos/api"
)

// opKind is what a client of the linearizability test does with one file, or with
// the files of one group.
type opKind int

const (
	opGet opKind = iota
	opPut
	opAppend
	opCAS
	opCreate
	opRemove
	opRename
	opList
)

// input is an operation. Files that are renamed are in groups: g1-2.a, g1-2.b and
// g1-2.c are one, g1-2. Every other file is a group of its own.
type input struct {
	kind  opKind
	file  string // of opList: the group
	to    string // of opRename, in the same group
	value string // written; every value is written once
	ifVer uint64 // of opCAS
}

func (in input) group() string {
	g, _, _ := strings.Cut(in.file, ".")
	return g
}

// member is the place of a file in its group.
func member(file string) int {
	if _, m, ok := strings.Cut(file, "."); ok {
		return int(m[0] - 'a')
	}
	return 0
}

const members = 3

type output struct {
	unknown bool // the answer did not come, or said that it does not know
	kind    api.Kind
	value   string
	version uint64
	there   [members]bool // of opList
}

// register is a file in the model. A version of 0 is one that nobody was told;
// it is above floor, the last one that somebody was when it was written.
type register struct {
	there   bool
	value   string
	version uint64
	floor   uint64
}

// group is the state of the model: files, and the last version that somebody was
// told. Versions are the realm's: whatever is written later has a higher one.
type group struct {
	files [members]register
	told  uint64
}

// write makes a file's next state, if the version can be.
func (g group) write(i int, value string, out output) (bool, group) {
	if out.unknown {
		g.files[i] = register{true, value, 0, g.told}
		return true, g
	}
	ok := out.version > g.told
	g.files[i], g.told = register{true, value, out.version, 0}, out.version
	return ok, g
}

// read tells a version.
func (g group) read(i int, out output) (bool, group) {
	s := &g.files[i]
	ok := s.there && s.value == out.value && (s.version == out.version || s.version == 0 && out.version > s.floor)
	g.files[i], g.told = register{true, out.value, out.version, 0}, max(g.told, out.version)
	return ok, g
}

// fileModel is what files are: registers with exclusive create, remove,
// compare-and-set and append, that are renamed in one step and listed at one
// moment. Operations of unknown outcome have no end, so they may take effect at any
// time, or behind all that was seen.
var fileModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		by := make(map[string]int)
		for _, o := range history {
			g := o.Input.(input).group()
			i, ok := by[g]
			if !ok {
				i = len(parts)
				by[g] = i
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], o)
		}
		return parts
	},
	Init: func() any { return group{} },
	Step: func(state, in, out any) (bool, any) {
		return step(state.(group), in.(input), out.(output))
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
}

func step(g group, in input, out output) (bool, group) {
	i := member(in.file)
	s := g.files[i]
	switch in.kind {
	case opGet:
		if out.kind == api.NotFound {
			return !s.there, g
		}
		return g.read(i, out)
	case opPut:
		return g.write(i, in.value, out)
	case opAppend:
		return g.write(i, s.value+in.value, out)
	case opCAS:
		matches := s.there && s.version == in.ifVer
		switch {
		case out.kind == api.Conflict:
			return !matches, g
		case matches, !out.unknown && s.there && s.version == 0:
			return g.write(i, in.value, out)
		}
		return out.unknown, g // a version that nobody was told is not one that was asked for
	case opCreate:
		if out.kind == api.Exists || out.unknown && s.there {
			return s.there, g
		}
		ok, n := g.write(i, in.value, out)
		return ok && !s.there, n
	case opList:
		for j, f := range g.files {
			if f.there != out.there[j] {
				return false, g
			}
		}
		return true, g
	}
	// opRemove, opRename
	if out.kind == api.NotFound || out.unknown && !s.there {
		return !s.there, g
	}
	if in.kind == opRename {
		g.files[member(in.to)] = s
	}
	g.files[i] = register{}
	return s.there, g
}

func (k opKind) String() string {
	return strings.Fields("get put append cas create remove rename list")[k]
}
