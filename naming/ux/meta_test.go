package ux

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"sigmaos/naming/tree"
)

func genMeta(t *rapid.T) *meta {
	m := &meta{
		mode:      rapid.SampledFrom([]uint32{tree.ModeFile, tree.ModeDir, tree.ModeSymlink, tree.ModeEndpoint}).Draw(t, "type") | rapid.Uint32Range(0, tree.ModePerm).Draw(t, "perm"),
		id:        rapid.Uint64().Draw(t, "id"),
		version:   rapid.Uint64().Draw(t, "version"),
		owner:     string(rapid.SliceOfN(rapid.Byte(), 0, maxUser).Draw(t, "owner")),
		published: rapid.Bool().Draw(t, "published"),
		dirty:     rapid.Bool().Draw(t, "dirty"),
		undo:      rapid.Int64Range(-1, 1<<62).Draw(t, "undo"),
	}
	for range rapid.IntRange(0, maxDone).Draw(t, "done") {
		m.done = append(m.done, rapid.Uint64().Draw(t, "id of a Put"))
	}
	return m
}

func TestMetaIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMeta(t)
		b := m.encode(nil)
		if len(b) > metaMax {
			t.Fatalf("%d bytes, the limit is %d", len(b), metaMax)
		}
		if got, err := decodeMeta(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("decode(encode(%+v)) = %+v, %v", m, got, err)
		}
		if _, err := decodeMeta(b[:len(b)-1]); !errors.Is(err, errMeta) {
			t.Fatalf("a byte less: %v", err)
		}
		if _, err := decodeMeta(append(b, 0)); !errors.Is(err, errMeta) {
			t.Fatalf("a byte more: %v", err)
		}
	})
}

// The usual attribute fits beside the inode of an ext4 file, which has 96 bytes
// for names and values of them all.
func TestMetaIsSmall(t *testing.T) {
	m := meta{mode: tree.ModeFile | 0o644, owner: "a-user-of-20-letters", done: []uint64{1}, undo: -1}
	if n := len(m.encode(nil)); n > 60 {
		t.Errorf("the usual attribute has %d bytes", n)
	}
}

func FuzzMeta(f *testing.F) {
	for _, m := range []meta{
		{mode: tree.ModeFile | 0o644, id: 1, version: 2, owner: "alice", undo: -1},
		{mode: tree.ModeDir | 0o755, dirty: true, undo: 1 << 40, done: []uint64{1, 2, 3}},
		{mode: tree.ModeEndpoint, published: true, undo: -1},
	} {
		f.Add(m.encode(nil))
	}
	f.Add([]byte{})
	f.Add([]byte{metaVersion, 1, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			if !errors.Is(err, errMeta) {
				t.Errorf("decode(%x): %v", b, err)
			}
			return
		}
		if again := m.encode(nil); !bytes.Equal(again, b) {
			t.Errorf("%x is read as %+v, which is written as %x", b, m, again)
		}
	})
}
