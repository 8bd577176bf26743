package binfs

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// Profile lists the chunks that the start of a program touches, in rising
// order. It travels with the program; a wrong one costs time, nothing else.
type Profile []uint32

// maxProfile bounds a profile: 16 MiB of a program.
const maxProfile = 256

// Marshal is the stored form.
func (p Profile) Marshal() []byte {
	b := []byte{treeVersion}
	for _, i := range p {
		b = binary.LittleEndian.AppendUint32(b, i)
	}
	return b
}

// UnmarshalProfile reads Marshal's form.
func UnmarshalProfile(b []byte) (Profile, error) {
	if len(b) < 1 || b[0] != treeVersion || len(b)%4 != 1 || len(b) > 1+4*maxProfile {
		return nil, errors.New("binfs: a damaged profile")
	}
	var p Profile
	for b = b[1:]; len(b) > 0; b = b[4:] {
		p = append(p, binary.LittleEndian.Uint32(b))
	}
	return p, nil
}

// Learned is a profile on its way to where the program came from.
type Learned struct {
	Realm   string `json:"realm"`
	Digest  string `json:"digest"`
	Profile []byte `json:"profile"` // marshalled
}

func (l Learned) check() (d Digest, p Profile, err error) {
	if !realmRule.MatchString(l.Realm) {
		return "", nil, errors.New("binfs: no realm id")
	}
	if d, err = ParseDigest(l.Digest); err == nil {
		p, err = UnmarshalProfile(l.Profile)
	}
	if err == nil && len(p) == 0 {
		err = errors.New("binfs: an empty profile")
	}
	return d, p, err
}

// within leaves out what is not in t.
func (p Profile) within(t Tree) Profile {
	p = slices.Clone(p)
	slices.Sort(p)
	p = slices.Compact(p)
	return slices.DeleteFunc(p, func(i uint32) bool { return int64(i) >= int64(len(t.Chunks)) })
}

// startTime is how long after it was looked for a program is starting.
const startTime = time.Second

// record writes n's profile when its first start is over: what was read then,
// and what was put into the page cache before. What the kernel reads ahead counts
// as touched.
func (f *fileSystem) record(n *node) {
	if f.saveProfile == nil {
		return
	}
	n.touched = make(map[uint32]bool)
	time.AfterFunc(startTime, func() {
		n.mu.Lock()
		var p Profile
		for i := range n.touched {
			p = append(p, i)
		}
		n.touched = nil
		n.mu.Unlock()
		if len(p) == 0 { // nothing was missing
			return
		}
		p = append(p, n.first...).within(n.tree)
		p = p[:min(len(p), maxProfile)]
		if err := f.saveProfile(n.realm, n.digest, p); err != nil {
			f.log.Warn("the profile of a program is not kept", "digest", n.digest, "err", err)
		}
	})
}

// touch notes a chunk that was read.
func (n *node) touch(i uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.touched != nil && len(n.touched) < maxProfile {
		n.touched[i] = true
	}
}

// ChunkLen is the length of chunk i.
func (t Tree) ChunkLen(i int) int64 {
	return max(0, min(int64(ChunkSize), t.Size-int64(i)*ChunkSize))
}

// Split cuts data into the chunks of list and verifies each.
func (t Tree) Split(list []uint32, data []byte) ([][]byte, error) {
	var out [][]byte
	for _, i := range list {
		n := t.ChunkLen(int(i))
		if n == 0 || int64(len(data)) < n {
			return nil, errors.New("binfs: chunks are missing from an answer")
		}
		if err := t.Verify(int(i), data[:n]); err != nil {
			return nil, err
		}
		out = append(out, data[:n])
		data = data[n:]
	}
	if len(data) > 0 {
		return nil, errors.New("binfs: an answer is longer than what was asked")
	}
	return out, nil
}
