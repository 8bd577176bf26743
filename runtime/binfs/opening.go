package binfs

import (
	"encoding/binary"
	"errors"
)

// Opening is what a start needs first, in one answer: a program's tree, which
// chunks a start touches, and as many of those as the answer has room for.
type Opening struct {
	Tree    []byte // marshalled
	Profile Profile
	Data    []byte // the first chunks of what a start touches, one behind the other
}

// maxAnswer is how long an answer gets: below what a link between nodes takes
// in one frame.
const maxAnswer = 1<<20 - 4<<10

// longForm begins an Opening; nodes of an earlier version gave the tree's length
// there, the tree, the profile and no data.
const longForm = ^uint32(0)

// Marshal is the form on the wire.
func (o Opening) Marshal() []byte {
	le := binary.LittleEndian
	p := o.Profile.Marshal()
	b := make([]byte, 0, 12+len(o.Tree)+len(p)+len(o.Data))
	b = le.AppendUint32(b, longForm)
	b = le.AppendUint32(b, uint32(len(o.Tree)))
	b = append(b, o.Tree...)
	b = le.AppendUint32(b, uint32(len(p)))
	b = append(b, p...)
	return append(b, o.Data...)
}

// maxTreePart is how much of a tree comes in one answer: that of 1 GiB.
const maxTreePart = 512 << 10

func treePart(tree []byte, at int) []byte {
	at = min(at, len(tree))
	return tree[at:min(at+maxTreePart, len(tree))]
}

// Whole has more called for the parts of the tree that did not come with o: from
// that byte on. What comes is not verified here.
func (o *Opening) Whole(more func(at int) ([]byte, error)) error {
	n, err := treeLen(o.Tree)
	if err != nil {
		return err
	}
	o.Tree = o.Tree[:len(o.Tree):len(o.Tree)]
	for len(o.Tree) < n {
		part, err := more(len(o.Tree))
		if err != nil {
			return err
		}
		if len(part) == 0 || len(part) > n-len(o.Tree) {
			return errors.New("binfs: a damaged part of a digest tree")
		}
		o.Tree = append(o.Tree, part...)
	}
	return nil
}

// Answer is o in the form that the asking node understands.
func (o Opening) Answer(q Question) []byte {
	if q.Start {
		return o.Marshal()
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(o.Tree)))
	return append(append(b, o.Tree...), o.Profile.Marshal()...)
}

// Part answers a question for o, or for a part of its tree, within one answer.
func (o Opening) Part(q Question) []byte {
	if q.Tree > 0 {
		return treePart(o.Tree, q.Tree)
	}
	o.Tree = treePart(o.Tree, 0)
	// Every chunk but a program's last, which a start touches last, is as long.
	if room := max(0, roomBeside(len(o.Tree))); int64(len(o.Data)) > room {
		o.Data = o.Data[:room/ChunkSize*ChunkSize]
	}
	return o.Answer(q)
}

// UnmarshalOpening reads both forms; nothing in it is verified yet. A profile that
// makes no sense is as none, and so are the chunks that it lists: a start does
// without.
func UnmarshalOpening(b []byte) (o Opening, err error) {
	le := binary.LittleEndian
	bad := errors.New("binfs: a damaged answer to a question for a program")
	part := func() []byte {
		if len(b) < 4 || uint64(len(b)-4) < uint64(le.Uint32(b)) {
			err = bad
			return nil
		}
		n := le.Uint32(b)
		p := b[4 : 4+n]
		b = b[4+n:]
		return p
	}
	long := len(b) >= 4 && le.Uint32(b) == longForm
	if long {
		b = b[4:]
	}
	o.Tree = part()
	profile := b
	if long {
		profile = part()
		o.Data = b
	}
	if err != nil {
		return o, err
	}
	var perr error
	if o.Profile, perr = UnmarshalProfile(profile); perr != nil {
		o.Data = nil
	}
	return o, nil
}

// touches is what a start of t touches as far as that is known: the profile;
// without one all of a small program, of others the chunk that exec begins with.
func (p Profile) touches(t Tree) Profile {
	switch {
	case len(p) > 0 || len(t.Chunks) == 0:
		return p
	case len(t.Chunks) > small:
		return Profile{0}
	}
	for i := range t.Chunks {
		p = append(p, uint32(i))
	}
	return p
}

// opened is an Opening that was verified.
type opened struct {
	tree    Tree
	profile Profile
	list    []uint32 // the chunks that came along …
	parts   [][]byte
}

// verify checks o against d.
func (o Opening) verify(d Digest) (v opened, err error) {
	if v.tree, err = UnmarshalTree(o.Tree, d); err != nil {
		return v, err
	}
	v.profile = o.Profile.within(v.tree)
	first, n := v.profile.touches(v.tree), int64(0)
	for n < int64(len(o.Data)) && len(v.list) < len(first) {
		n += v.tree.ChunkLen(int(first[len(v.list)]))
		v.list = first[:len(v.list)+1]
	}
	v.parts, err = v.tree.Split(v.list, o.Data)
	return v, err
}

// marshal is for who verifies again.
func (v opened) marshal() []byte {
	o := Opening{Tree: v.tree.Marshal(), Profile: v.profile}
	for _, p := range v.parts {
		o.Data = append(o.Data, p...)
	}
	return o.Marshal()
}
