package binfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// maxAsked is how many chunks one request may ask for: an answer stays below
// what a link between nodes takes in one frame.
const maxAsked = 15

// Question asks a node for a program: those chunks of it, or where Chunks is
// empty an Opening.
type Question struct {
	Realm  string   `json:"realm"`
	Digest string   `json:"digest"`
	Chunks []uint32 `json:"chunks,omitempty"`
	Start  bool     `json:"start,omitempty"` // an Opening's long form is understood
	Tree   int      `json:"tree,omitempty"`  // only the tree from this byte on, a part of it
}

func (q Question) check() (Digest, error) {
	if !realmRule.MatchString(q.Realm) {
		return "", errors.New("binfs: no realm id")
	}
	if len(q.Chunks) > maxAsked {
		return "", fmt.Errorf("binfs: %d chunks asked at a time, at most %d", len(q.Chunks), maxAsked)
	}
	return ParseDigest(q.Digest)
}

// Give answers another node from what this disk has: programs stored here, and
// those that ran here lately. It gives only chunks that are right.
func (s *Store) Give(q Question) ([]byte, error) {
	d, err := q.check()
	if err != nil {
		return nil, err
	}
	t, err := s.anyTree(q.Realm, d)
	if err != nil {
		return nil, err
	}
	if q.Tree > 0 {
		return treePart(t.Marshal(), q.Tree), nil
	}
	if len(q.Chunks) == 0 {
		return s.opening(q, d, t), nil
	}
	var out []byte
	buf := make([]byte, ChunkSize)
	for _, i := range q.Chunks {
		b, err := s.anyChunk(q.Realm, d, t, int(i), buf)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}

// opening has the chunks of a start as far as they are here and fit.
func (s *Store) opening(q Question, d Digest, t Tree) []byte {
	o := Opening{Tree: t.Marshal(), Profile: s.profile(q.Realm, d)}
	if !q.Start {
		return o.Answer(q)
	}
	o.Tree = treePart(o.Tree, 0)
	left := roomBeside(len(o.Tree))
	buf := make([]byte, ChunkSize)
	for _, i := range o.Profile.within(t).touches(t) {
		b, err := s.anyChunk(q.Realm, d, t, int(i), buf)
		if err != nil || int64(len(o.Data)+len(b)) > left {
			break
		}
		o.Data = append(o.Data, b...)
	}
	return o.Answer(q)
}

// cachePath is where a program that came from elsewhere is kept, as far as it
// came: the chunks that did not are holes, which no digest matches.
func (s *Store) cachePath(realm string, d Digest) string {
	return filepath.Join(s.dir, realm, "cache", string(d))
}

// anyTree is the tree of a program that is stored or cached.
func (s *Store) anyTree(realm string, d Digest) (Tree, error) {
	t, err := s.Tree(context.Background(), realm, d)
	if err == nil {
		return t, nil
	}
	b, cerr := os.ReadFile(s.cachePath(realm, d) + ".tree")
	if cerr != nil {
		return t, err
	}
	return UnmarshalTree(b, d)
}

// anyChunk reads chunk i where this disk has it, and verifies it.
func (s *Store) anyChunk(realm string, d Digest, t Tree, i int, buf []byte) ([]byte, error) {
	b, err := s.Chunk(context.Background(), realm, d, t, i, buf)
	if err == nil {
		err = t.Verify(i, b)
	}
	if err == nil {
		return b, nil
	}
	f, cerr := os.Open(s.cachePath(realm, d))
	if cerr != nil {
		return nil, err
	}
	defer f.Close()
	b = buf[:t.ChunkLen(i)]
	if _, err := f.ReadAt(b, int64(i)*ChunkSize); err != nil {
		return nil, err
	}
	return b, t.Verify(i, b)
}

func (s *Store) profilePath(realm string, d Digest) string {
	return filepath.Join(s.dir, realm, string(d)+".profile")
}

// profile of a program, empty where no start was seen yet.
func (s *Store) profile(realm string, d Digest) Profile {
	b, err := os.ReadFile(s.profilePath(realm, d))
	if err != nil {
		return nil
	}
	p, _ := UnmarshalProfile(b)
	return p
}

func (s *Store) saveProfile(realm string, d Digest, p Profile) error {
	return replace(s.profilePath(realm, d), p.Marshal())
}

// Learn keeps what a start elsewhere touched of a program that is stored here, where
// no start was seen yet.
func (s *Store) Learn(l Learned) error {
	d, p, err := l.check()
	if err != nil || !s.Has(l.Realm, d) || len(s.profile(l.Realm, d)) > 0 {
		return err
	}
	return s.saveProfile(l.Realm, d, p)
}

// replace writes a file so that it is whole or not there. The name of what is
// not whole yet is one that OpenStore removes.
func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "put-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
