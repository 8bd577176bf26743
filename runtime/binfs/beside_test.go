package binfs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
)

// What is computed while the bytes pass, in whatever pieces, is what a start needs;
// a damaged record of it is noticed.
func TestBesideAProgram(t *testing.T) {
	for _, n := range []int{1, ChunkSize - 1, ChunkSize, ChunkSize + 1, small*ChunkSize - 1, small * ChunkSize, small*ChunkSize + 1, 40*ChunkSize + 3} {
		b := content(n)
		want, err := Sum(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var s Summer
		for rest, k := b, 1; len(rest) > 0; k = k*7%9973 + 1 {
			k = min(k, len(rest))
			s.Write(rest[:k])
			rest = rest[k:]
		}
		packed := Beside{Version: 7, Opening: s.Opening()}.Marshal()
		got, err := UnmarshalBeside(packed)
		if err != nil || got.Version != 7 {
			t.Fatalf("%d bytes: version %d, %v", n, got.Version, err)
		}
		if _, d, size, err := got.Opening.Pin(); err != nil || d != want.Digest() || size != int64(n) {
			t.Errorf("%d bytes: %s of %d, %v; want %s", n, d, size, err, want.Digest())
		}
		whole := b // small programs come along
		if len(want.Chunks) > small {
			whole = b[:ChunkSize]
		}
		if !bytes.Equal(got.Opening.Data, whole) || len(packed) > maxAnswer {
			t.Errorf("%d bytes: %d come along in a record of %d, want %d", n, len(got.Opening.Data), len(packed), len(whole))
		}
		if !bytes.Equal(got.Opening.First(), b[:min(n, ChunkSize)]) {
			t.Errorf("%d bytes: the first chunk is another", n)
		}
		for _, at := range []int{0, 5, 20, len(packed) / 2, len(packed) - 1} {
			bad := bytes.Clone(packed)
			bad[at] ^= 1
			if _, err := UnmarshalBeside(bad); err == nil {
				t.Errorf("%d bytes: a flipped bit at %d of %d is not noticed", n, at, len(bad))
			}
		}
	}
}

// learner is a place that is told what a start touched.
type learner struct {
	*place
	told chan Profile
}

func (l learner) Learn(_ context.Context, _ string, _ Digest, p Profile) error {
	l.told <- p
	return nil
}

// The profile of a start is kept on the node, and told to where the program came from:
// not of what this disk had, nor to anybody else.
func TestProfileIsToldToItsOrigin(t *testing.T) {
	b := content(20 * ChunkSize)
	s, d := stored(t, b)
	mine, err := OpenStore(t.TempDir())
	if err == nil {
		err = mine.Admit("ra")
	}
	if err != nil {
		t.Fatal(err)
	}
	has := learner{&place{name: "has", store: s}, make(chan Profile, 1)}
	other := learner{&place{name: "other", store: s, spoil: func([]byte) ([]byte, error) { return nil, errors.New("down") }}, make(chan Profile, 1)}
	c := newCache(mine, direct{NewChain(func(string, Digest) []Origin { return []Origin{other, has} })}, 1<<30, slog.New(slog.DiscardHandler))
	if _, _, err := c.Tree(t.Context(), "ra", d); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the program has a place on this disk", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.landing) == 0
	})
	if err := c.learn("ra", d, Profile{0, 3}); err != nil {
		t.Fatal(err)
	}
	if p := <-has.told; !slices.Equal(p, Profile{0, 3}) || len(other.told) != 0 {
		t.Errorf("its origin is told %v, others %d times; want 0, 3, and never", p, len(other.told))
	}
	if p := mine.profile("ra", d); !slices.Equal(p, Profile{0, 3}) {
		t.Errorf("this disk has %v, want 0, 3", p)
	}
	own, err := mine.Put("ra", bytes.NewReader(b[7:]), "", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.learn("ra", own, Profile{0}); err != nil || len(has.told)+len(other.told) != 0 {
		t.Errorf("of a program of this disk: %v, and somebody is told", err)
	}
	// A peer that stores it keeps the first profile that it is told.
	for _, l := range []Learned{{"ra", string(d), Profile{0, 5}.Marshal()}, {"ra", string(d), Profile{0}.Marshal()}} {
		if err := s.Learn(l); err != nil {
			t.Fatal(err)
		}
	}
	if p := s.profile("ra", d); !slices.Equal(p, Profile{0, 5}) {
		t.Errorf("a peer keeps %v, want 0, 5", p)
	}
	for _, l := range []Learned{{"../ra", string(d), Profile{0}.Marshal()}, {"ra", "s1-x", Profile{0}.Marshal()}, {"ra", string(d), []byte("no")}, {"ra", string(d), Profile{}.Marshal()}, {"ra", string(d), make([]byte, 5+4*maxProfile)}} {
		if err := s.Learn(l); err == nil {
			t.Errorf("%+v is learned", l)
		}
	}
}

// An Opening that has learned what a start touches has those chunks as far as an
// answer has room; what is in it beside the tree can be anything, and then counts for
// nothing.
func TestOpeningLearns(t *testing.T) {
	b := content(40*ChunkSize + 3)
	tree, err := Sum(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	d, old := tree.Digest(), Opening{Tree: tree.Marshal(), Data: b[:ChunkSize]}
	read := func(list []uint32) (out []byte, err error) {
		for _, i := range list {
			out = append(out, b[int(i)*ChunkSize:min(len(b), int(i+1)*ChunkSize)]...)
		}
		return out, nil
	}
	for name, tt := range map[string]struct {
		learn Profile
		keep  Profile
		parts int
	}{
		"few":             {Profile{40, 0, 3, 3, 99}, Profile{0, 3, 40}, 3},
		"without a first": {Profile{5}, Profile{5}, 1},
		"many":            {Profile{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 40}, Profile{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 40}, 15},
	} {
		o, err := old.Learn(d, tt.learn, read)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := UnmarshalBeside(Beside{Version: 1, Opening: o}.Marshal())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		pinned, is, size, err := got.Opening.Pin()
		v, verr := pinned.verify(d)
		if err != nil || verr != nil || is != d || size != int64(len(b)) || !slices.Equal(v.profile, tt.keep) || len(v.parts) != tt.parts {
			t.Errorf("%s: %s of %d bytes with the profile %v and %d chunks, %v, %v; want %v and %d", name, is, size, v.profile, len(v.parts), err, verr, tt.keep, tt.parts)
		}
		if first := pinned.First(); len(first) > 0 != (tt.keep[0] == 0) || len(first) > 0 && !bytes.Equal(first, b[:ChunkSize]) {
			t.Errorf("%s: %d bytes pass for the first chunk", name, len(first))
		}
		for at := range 3 { // in frames of a link, whole chunks alone
			pinned.Data = bytes.Repeat(pinned.Data, at+1)
			if n := len(pinned.Part(Question{Start: true})); n > maxAnswer {
				t.Errorf("%s: an answer of %d bytes, at most %d fit", name, n, maxAnswer)
			}
		}
	}
	if _, err := old.Learn(d, Profile{0, 1}, func([]uint32) ([]byte, error) { return make([]byte, 2*ChunkSize), nil }); err == nil {
		t.Error("chunks of another program are learned")
	}
	good, _ := old.Learn(d, Profile{0, 3}, read)
	for name, spoil := range map[string]func(*Opening){
		"chunks of nothing":   func(o *Opening) { o.Data = make([]byte, len(o.Data)) },
		"too short":           func(o *Opening) { o.Data = o.Data[:ChunkSize+1] },
		"too long":            func(o *Opening) { o.Data = append(bytes.Clone(o.Data), 0) },
		"for another profile": func(o *Opening) { o.Profile = Profile{1, 2} },
		"beyond the end":      func(o *Opening) { o.Profile = Profile{4000, 5000} },
	} {
		o := good
		spoil(&o)
		p, is, _, err := o.Pin()
		if v, verr := p.verify(d); err != nil || verr != nil || is != d || len(v.parts) != 0 && !bytes.Equal(v.parts[0], b[:ChunkSize]) {
			t.Errorf("%s: pinned as %s with %d chunks, %v, %v; want the program without them", name, is, len(v.parts), err, verr)
		}
	}
	// A profile that makes no sense is as none.
	packed := Opening{Tree: good.Tree, Data: good.Data}.Marshal()
	at := 8 + len(good.Tree)
	packed[at+4] = 9
	if o, err := UnmarshalOpening(packed); err != nil || len(o.Profile)+len(o.Data) != 0 || !bytes.Equal(o.Tree, good.Tree) {
		t.Errorf("with a profile of another version: %d chunks and %d bytes, %v; want the tree alone", len(o.Profile), len(o.Data), err)
	}
}

func FuzzUnmarshalOpening(f *testing.F) {
	tree, _ := Sum(bytes.NewReader(content(100_000)))
	for _, o := range []Opening{{Tree: tree.Marshal(), Profile: Profile{1}, Data: content(100_000)[ChunkSize:]}, {Tree: tree.Marshal()}} {
		f.Add(o.Marshal())
	}
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := UnmarshalOpening(b); err == nil {
			if len(o.Tree)+len(o.Data) > len(b) || len(o.Profile) > maxProfile {
				t.Fatalf("%d bytes give a tree of %d, a profile of %d, and %d bytes", len(b), len(o.Tree), len(o.Profile), len(o.Data))
			}
			if v, err := o.verify(tree.Digest()); err == nil {
				for n, i := range v.list {
					if err := tree.Verify(int(i), v.parts[n]); err != nil {
						t.Fatalf("verified, and wrong: %v", err)
					}
				}
			}
		}
	})
}

func FuzzUnmarshalProfile(f *testing.F) {
	f.Add(Profile{1, 2, 70_000}.Marshal())
	f.Add(Profile{}.Marshal())
	f.Add([]byte{1, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := UnmarshalProfile(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Marshal(), b) || len(p) > maxProfile {
			t.Fatalf("%x came back as %x", b, p.Marshal())
		}
		tree := Tree{Chunks: make([][32]byte, 3)}
		for _, i := range p.within(tree) {
			if int(i) >= len(tree.Chunks) {
				t.Fatalf("chunk %d of %d", i, len(tree.Chunks))
			}
		}
	})
}
