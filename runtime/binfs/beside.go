package binfs

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// Summer computes what a start of a program needs first while the program's bytes
// pass. Write never fails but for a program that is too large.
type Summer struct {
	tree  Tree
	first []byte // the chunks so far, of a program that is small yet; else the first chunk
	chunk []byte // under way
}

// Write takes the next bytes.
func (s *Summer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(s.tree.Chunks) >= maxChunks {
			return n - len(p), errors.New("binfs: too large for a program")
		}
		k := min(len(p), ChunkSize-len(s.chunk))
		s.chunk, p = append(s.chunk, p[:k]...), p[k:]
		if len(s.chunk) == ChunkSize {
			s.end()
		}
	}
	return n, nil
}

func (s *Summer) end() {
	switch n := len(s.tree.Chunks); {
	case n < small:
		s.first = append(s.first, s.chunk...)
	case n == small:
		s.first = append([]byte(nil), s.first[:ChunkSize]...)
	}
	s.tree.Size += int64(len(s.chunk))
	s.tree.Chunks = append(s.tree.Chunks, sha256.Sum256(s.chunk))
	s.chunk = s.chunk[:0]
}

// Opening of what has passed; more may follow.
func (s *Summer) Opening() Opening {
	t := *s
	t.chunk, t.first = append([]byte(nil), s.chunk...), s.first[:len(s.first):len(s.first)]
	if len(t.chunk) > 0 {
		t.end()
	}
	return Opening{Tree: t.tree.Marshal(), Data: t.first}
}

// Beside is what is kept of a program beside it, where its bytes are in a store
// that has no digests of ours: then a start need not read it whole to know what
// it is.
type Beside struct {
	Version uint64 // of the object that it is about
	Opening Opening
}

const besideForm = 1

// Marshal is the stored form.
func (b Beside) Marshal() []byte {
	out := binary.LittleEndian.AppendUint64([]byte{besideForm}, b.Version)
	out = append(out, b.Opening.Marshal()...)
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

// UnmarshalBeside reads Marshal's form. What was damaged on its way is an error:
// to what a program's digest is there is no second witness.
func UnmarshalBeside(b []byte) (out Beside, err error) {
	n := len(b) - sha256.Size
	if n < 9 || b[0] != besideForm || sha256.Sum256(b[:n]) != [sha256.Size]byte(b[n:]) {
		return out, errors.New("binfs: what is kept beside a program is damaged")
	}
	out.Version = binary.LittleEndian.Uint64(b[1:])
	out.Opening, err = UnmarshalOpening(b[9:n])
	return out, err
}

// Pin names the program that o is about: the one that its tree is of. What o has
// beyond that is a help, and left out where it is not what the tree says.
func (o Opening) Pin() (_ Opening, d Digest, size int64, err error) {
	h := sha256.Sum256(o.Tree)
	d = Digest(digestPrefix + hex.EncodeToString(h[:]))
	t, err := UnmarshalTree(o.Tree, d)
	if err != nil {
		return o, d, 0, err
	}
	o.Profile = o.Profile.within(t)
	if _, err := o.verify(d); err != nil {
		o.Profile, o.Data = nil, nil
	}
	return o, d, t.Size, nil
}

// First is the first chunk, where o, which Pin gave, has it.
func (o Opening) First() []byte {
	if len(o.Profile) > 0 && o.Profile[0] != 0 {
		return nil
	}
	return o.Data[:min(len(o.Data), ChunkSize)]
}

// Learn is o with what a start of d was seen to touch, and those chunks of it, as far
// as an answer has room; chunks reads them.
func (o Opening) Learn(d Digest, p Profile, chunks func(list []uint32) ([]byte, error)) (Opening, error) {
	t, err := UnmarshalTree(o.Tree, d)
	if err != nil {
		return o, err
	}
	if p = p.within(t); len(p) > maxProfile {
		p = p[:maxProfile]
	}
	o.Profile, o.Data = p, nil
	left := roomBeside(len(o.Tree))
	n := 0
	for n < len(p) && n < maxAsked && left >= t.ChunkLen(int(p[n])) {
		left -= t.ChunkLen(int(p[n]))
		n++
	}
	if n > 0 {
		if o.Data, err = chunks(p[:n]); err == nil {
			_, err = t.Split(p[:n], o.Data)
		}
	}
	return o, err
}

// roomBeside is how many bytes of chunks an answer has room for beside a tree.
func roomBeside(tree int) int64 { return int64(maxAnswer - tree - 4*maxProfile) }
