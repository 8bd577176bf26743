package binfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
)

// place is an origin that has one program, and spoils what it gives.
type place struct {
	name  string
	store *Store
	spoil func([]byte) ([]byte, error)
	old   bool // speaks the version before

	mu    sync.Mutex
	asked int
}

func (p *place) Name() string { return p.name }

func (p *place) give(ctx context.Context, q Question) ([]byte, error) {
	p.mu.Lock()
	p.asked++
	p.mu.Unlock()
	b, err := p.store.Give(q)
	if err == nil && p.spoil != nil {
		b, err = p.spoil(b)
	}
	return b, err
}

func (p *place) Open(ctx context.Context, realm string, d Digest) (Opening, error) {
	b, err := p.give(ctx, Question{Realm: realm, Digest: string(d), Start: !p.old})
	if err != nil {
		return Opening{}, err
	}
	o, err := UnmarshalOpening(b)
	if err == nil {
		err = o.Whole(func(at int) ([]byte, error) { return p.give(ctx, Question{Realm: realm, Digest: string(d), Tree: at}) })
	}
	return o, err
}

// A program whose tree is longer than an answer comes from elsewhere as others do.
func TestLargeProgramFromElsewhere(t *testing.T) {
	const size = 2<<30 - 5
	zeroes := make([]byte, ChunkSize)
	tree := Tree{Size: size, Chunks: slices.Repeat([][32]byte{sha256.Sum256(zeroes)}, size/ChunkSize+1)}
	last := len(tree.Chunks) - 1
	tree.Chunks[last] = sha256.Sum256(zeroes[:tree.ChunkLen(last)])
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := tree.Digest()
	if err := os.MkdirAll(filepath.Dir(s.Path("ra", d)), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(s.Path("ra", d), nil, 0o600), os.Truncate(s.Path("ra", d), size), os.WriteFile(s.Path("ra", d)+".tree", tree.Marshal(), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []Question{{Realm: "ra", Digest: string(d), Start: true}, {Realm: "ra", Digest: string(d), Tree: 1}} {
		if b, err := s.Give(q); err != nil || len(b) > maxAnswer {
			t.Fatalf("an answer of %d bytes to %+v, %v; want at most %d", len(b), q, err, maxAnswer)
		}
	}
	from := &place{name: "peer", store: s}
	mine, err := OpenStore(t.TempDir())
	if err == nil {
		err = mine.Admit("ra")
	}
	if err != nil {
		t.Fatal(err)
	}
	c := newCache(mine, direct{NewChain(func(string, Digest) []Origin { return []Origin{from} })}, 1<<30, slog.New(slog.DiscardHandler))
	got, _, err := c.Tree(t.Context(), "ra", d)
	if err != nil || got.Size != size {
		t.Fatalf("a tree of %d bytes, %v; want %d", got.Size, err, size)
	}
	for _, i := range []int{0, 20_000, last} {
		b, err := c.Chunk(t.Context(), "ra", d, got, i, make([]byte, ChunkSize))
		if err != nil || int64(len(b)) != tree.ChunkLen(i) {
			t.Errorf("chunk %d: %d bytes, %v", i, len(b), err)
		}
	}
	eventually(t, "nothing is under way", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.flights) == 0
	})
	from.spoil = func(b []byte) ([]byte, error) { b[len(b)-1] ^= 1; return b, nil }
	if _, _, err := c.remote.open(t.Context(), "ra", d); err == nil {
		t.Error("a damaged part of a tree is believed")
	}
}

func (p *place) Chunks(ctx context.Context, realm string, d Digest, list []uint32) ([]byte, error) {
	return p.give(ctx, Question{Realm: realm, Digest: string(d), Chunks: list})
}

// direct is the remote of a cache that has the chain in its own process.
type direct struct{ *Chain }

func (r direct) chunks(ctx context.Context, realm string, d Digest, t Tree, list []uint32) ([]byte, string, error) {
	return r.Chunks(ctx, realm, d, t, list)
}

func stored(t *testing.T, b []byte) (*Store, Digest) {
	t.Helper()
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Put("ra", bytes.NewReader(b), "", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return s, d
}

// FAULTS F20: a source that lies, cuts short or fails is skipped for the next;
// when all do, there is an error and no byte.
func TestFAULTS_F20_BadSourceIsSkipped(t *testing.T) {
	b := content(5*ChunkSize + 77)
	s, d := stored(t, b)
	for name, spoil := range map[string]func([]byte) ([]byte, error){
		"flips a bit":  func(b []byte) ([]byte, error) { b[len(b)/2] ^= 1; return b, nil },
		"cuts short":   func(b []byte) ([]byte, error) { return b[:len(b)-1], nil },
		"adds":         func(b []byte) ([]byte, error) { return append(b, 0), nil },
		"gives none":   func([]byte) ([]byte, error) { return nil, nil },
		"answers 500":  func([]byte) ([]byte, error) { return nil, errors.New("500") },
		"other zeroes": func(b []byte) ([]byte, error) { return make([]byte, len(b)), nil },
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := &place{name: "bad", store: s, spoil: spoil}, &place{name: "good", store: s}
			list := []uint32{0, 3, 5}
			read := func(origins ...Origin) (string, error) {
				c := NewChain(func(string, Digest) []Origin { return origins })
				v, _, err := c.open(context.Background(), "ra", d)
				if err != nil {
					return "", err
				}
				data, from, err := c.Chunks(context.Background(), "ra", d, v.tree, list)
				if err == nil {
					_, err = v.tree.Split(list, data)
				}
				return from, err
			}
			if from, err := read(bad, good); err != nil || from != "good" {
				t.Errorf("behind a bad one: from %q, %v; want good", from, err)
			}
			if _, err := read(bad); err == nil {
				t.Error("a bad source alone is believed")
			}
		})
	}
}

// A realm whose stores hang does not take the places of another.
func TestHangingStoreHoldsUpItsRealmOnly(t *testing.T) {
	s, d := stored(t, content(100))
	release := make(chan struct{})
	hang := &place{name: "hang", store: s, spoil: func([]byte) ([]byte, error) { <-release; return nil, errors.New("late") }}
	ok := &place{name: "ok", store: s}
	c := NewChain(func(realm string, _ Digest) []Origin {
		if realm == "dead" {
			return []Origin{hang}
		}
		return []Origin{ok}
	})
	s.Put("dead", bytes.NewReader(content(100)), "", 1<<20)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 3 * perRealm {
		wg.Go(func() { c.open(ctx, "dead", d) })
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		hang.mu.Lock()
		n := hang.asked
		hang.mu.Unlock()
		if n == perRealm || time.Now().After(end) {
			break
		}
	}
	if _, _, err := c.open(context.Background(), "ra", d); err != nil {
		t.Errorf("open of another realm while one hangs: %v", err)
	}
	cancel()
	close(release)
	wg.Wait()
	if hang.asked > perRealm {
		t.Errorf("%d requests were under way for one realm, want %d", hang.asked, perRealm)
	}
	if len(c.places) != 0 {
		t.Errorf("%d realms are remembered after the last request", len(c.places))
	}
}

// Who waits for the same chunk shares one fetch; what a start touches comes with
// the tree, before anybody asks; and the disk has it afterwards.
func TestCacheFetchesOnceAndKeeps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		old   bool
		asked int
	}{{"today", false, 2}, {"a node of the version before", true, 3}} {
		t.Run(tt.name, func(t *testing.T) { testCacheFetchesOnce(t, tt.old, tt.asked) })
	}
}

func testCacheFetchesOnce(t *testing.T, old bool, asked int) {
	b := content(20*ChunkSize + 9)
	s, d := stored(t, b)
	if err := s.saveProfile("ra", d, Profile{0, 2, 20}); err != nil {
		t.Fatal(err)
	}
	from := &place{name: "peer", store: s, old: old}
	mine, err := OpenStore(t.TempDir())
	if err == nil {
		err = mine.Admit("ra")
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	c := newCache(mine, direct{NewChain(func(string, Digest) []Origin { return []Origin{from} })}, 1<<30, slog.New(slog.DiscardHandler))
	tree, first, err := c.Tree(ctx, "ra", d)
	if err != nil || !slices.Equal(first, Profile{0, 2, 20}) {
		t.Fatalf("Tree says that a start touches %v, %v; want 0, 2, 20", first, err)
	}
	var wg sync.WaitGroup
	for range 16 {
		for _, i := range []int{0, 2, 20, 7} {
			wg.Go(func() {
				got, err := c.Chunk(ctx, "ra", d, tree, i, make([]byte, ChunkSize))
				if err == nil {
					err = tree.Verify(i, got)
				}
				if err != nil {
					t.Errorf("chunk %d: %v", i, err)
				}
			})
		}
	}
	wg.Wait()
	if from.asked != asked {
		t.Errorf("%d requests, want %d: what a start touches, one chunk more", from.asked, asked)
	}
	if x := c.coldOf("ra", string(d)); x == nil || x.Chunks != 4 || x.From != "peer" {
		t.Errorf("what is told: %+v, want 4 chunks from peer", x)
	}
	again := newCache(mine, nil, 1<<30, slog.New(slog.DiscardHandler))
	eventually(t, "the program and its chunks are on disk", func() bool {
		if _, p, err := again.Tree(ctx, "ra", d); err != nil || !slices.Equal(p, first) {
			return false
		}
		for _, i := range []int{0, 2, 20, 7} {
			if _, err := again.Chunk(ctx, "ra", d, tree, i, make([]byte, ChunkSize)); err != nil {
				return false
			}
		}
		return true
	})
	if _, err := again.Chunk(ctx, "ra", d, tree, 5, make([]byte, ChunkSize)); err == nil {
		t.Error("a chunk that never came is served")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after 10 s: %s", what)
		}
	}
}

func TestEvictKeepsTheQuota(t *testing.T) {
	dir := t.TempDir()
	name := func(c string) string { return filepath.Join(dir, digestPrefix+strings.Repeat(c, 64)) }
	for n, c := range []string{"a", "b", "c"} {
		for _, f := range []string{name(c), name(c) + ".tree"} {
			if err := os.WriteFile(f, content(64<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(time.Duration(n-10) * time.Minute)
			os.Chtimes(f, at, at)
		}
	}
	if err := evict(dir, 140<<10, name("a")); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if want := []string{name("a"), name("a") + ".tree", name("c"), name("c") + ".tree"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

type noOrigin struct {
	Origin
	err error
}

func (o noOrigin) Name() string { return "other" }

func (o noOrigin) Open(context.Context, string, Digest) (Opening, error) {
	return Opening{}, o.err
}

// "There is no such program" takes everybody's answer.
func TestChainTellsAbsentFromSilent(t *testing.T) {
	none, down := api.E(api.NotFound, "give", "x", "not here"), api.E(api.Unavailable, "give", "x", "down")
	for _, tt := range []struct {
		name   string
		errs   []error
		absent bool
	}{{"nobody to ask", nil, true}, {"all say no", []error{none, none}, true}, {"one is down", []error{none, down}, false}, {"one is damaged", []error{errors.New("damaged"), none}, false}} {
		c := NewChain(func(string, Digest) (out []Origin) {
			for _, err := range tt.errs {
				out = append(out, noOrigin{err: err})
			}
			return out
		})
		_, _, err := c.open(t.Context(), "r", Digest("s1-x"))
		if err == nil || errors.Is(err, fs.ErrNotExist) != tt.absent {
			t.Errorf("%s: open: %v, want it to say absent: %v", tt.name, err, tt.absent)
		}
	}
}

// What is fetched for a realm that is removed meanwhile leaves nothing of it.
func TestFAULTS_F34_AFetchForARemovedRealmLeavesNothing(t *testing.T) {
	s, d := stored(t, content(20*ChunkSize))
	from := &place{name: "peer", store: s}
	mine, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, admitted := range []bool{false, true} {
		if admitted {
			err = mine.Admit("ra")
		}
		if err != nil {
			t.Fatal(err)
		}
		c := newCache(mine, direct{NewChain(func(string, Digest) []Origin { return []Origin{from} })}, 1<<30, slog.New(slog.DiscardHandler))
		tree, _, err := c.Tree(t.Context(), "ra", d)
		if err == nil {
			_, err = c.Chunk(t.Context(), "ra", d, tree, 3, make([]byte, ChunkSize))
		}
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "nothing is under way", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.flights) == 0
		})
		if kept, _ := os.ReadDir(mine.Dir()); (len(kept) > 0) != admitted {
			t.Errorf("the realm is there: %v; kept is %v", admitted, kept)
		}
		if err := mine.RemoveRealm("ra"); err != nil {
			t.Error(err)
		}
	}
}
