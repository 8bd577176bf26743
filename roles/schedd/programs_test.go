package schedd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
)

func newStore(t *testing.T) *programs {
	t.Helper()
	st, err := binfs.OpenStore(filepath.Join(t.TempDir(), "bin"))
	if err != nil {
		t.Fatal(err)
	}
	return newPrograms(st)
}

// elf is the smallest file that passes for a program, with n bytes behind.
func elf(n int) []byte {
	b := make([]byte, 120+n)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18] = 2, 62 // EXEC, amd64
	b[32], b[54], b[56] = 64, 56, 1
	b[64] = 1                     // LOAD
	b[64+32], b[64+40] = 120, 120 // sizes in file and memory
	for i := range n {
		b[120+i] = byte(i)
	}
	return b
}

func announce(b []byte, name string) api.PutBegin {
	t, _ := binfs.Sum(bytes.NewReader(b))
	return api.PutBegin{Name: name, Digest: string(t.Digest()), Size: t.Size}
}

func (g *programs) put(realm, name string, b []byte, pieces int) (api.Program, error) {
	st, err := g.begin(realm, announce(b, name))
	if err != nil || st.Known {
		return api.Program{}, err
	}
	for i := range pieces {
		if err := g.data(realm, st.Upload, b[i*len(b)/pieces:(i+1)*len(b)/pieces]); err != nil {
			return api.Program{}, err
		}
	}
	return g.end(realm, st.Upload)
}

func files(t *testing.T, g *programs, pattern string) int {
	t.Helper()
	m, err := filepath.Glob(filepath.Join(g.store.Dir(), pattern))
	if err != nil {
		t.Fatal(err)
	}
	return len(m)
}

func TestUploadInPieces(t *testing.T) {
	g := newStore(t)
	b := elf(300_000)
	p, err := g.put("r1", "prog", b, 7)
	if err != nil || p.Name != "prog" || p.Size != int64(len(b)) {
		t.Fatalf("%+v %v", p, err)
	}
	for _, path := range []string{"/bin/prog", "prog", p.Digest} {
		if got, err := g.resolve("r1", path); err != nil || got != p {
			t.Errorf("%s: %+v %v, want %+v", path, got, err, p)
		}
	}
	// Nothing of it in another realm, by whatever name.
	for _, path := range []string{"/bin/prog", "prog", p.Digest} {
		if _, err := g.resolve("r2", path); api.KindOf(err) != api.NotFound {
			t.Errorf("in another realm %s: %v", path, err)
		}
	}
	// Known content is named and not sent.
	st, err := g.begin("r1", announce(b, "again"))
	if err != nil || !st.Known || st.Upload != "" {
		t.Errorf("known content: %+v %v", st, err)
	}
	if list := g.list("r1"); len(list) != 2 || list[0].Name != "again" {
		t.Errorf("list: %+v", list)
	}
	// A name that moves on leaves the digest reachable.
	c := elf(10)
	if _, err := g.put("r1", "prog", c, 1); err != nil {
		t.Fatal(err)
	}
	if now, _ := g.resolve("r1", "/bin/prog"); now.Digest == p.Digest {
		t.Error("the name still points to the old content")
	}
	if _, err := g.resolve("r1", p.Digest); err != nil {
		t.Errorf("the old content: %v", err)
	}
	// The names survive a restart.
	h := newPrograms(g.store)
	if got := h.list("r1"); len(got) != 2 {
		t.Errorf("after a restart: %+v", got)
	}
	if err := h.removeRealm("r1"); err != nil {
		t.Fatal(err)
	}
	if n := files(t, h, "r1*"); n != 0 {
		t.Errorf("%d files are left of the realm", n)
	}
}

func TestUploadsThatMustNotWork(t *testing.T) {
	good := elf(1000)
	for name, tt := range map[string]struct {
		change func(*api.PutBegin)
		bytes  []byte
		kind   api.Kind
		want   string
	}{
		"a path for a name":   {func(b *api.PutBegin) { b.Name = "../x" }, good, api.Invalid, "name"},
		"up":                  {func(b *api.PutBegin) { b.Name = ".." }, good, api.Invalid, "name"},
		"a NUL":               {func(b *api.PutBegin) { b.Name = "a\x00b" }, good, api.Invalid, "name"},
		"a newline":           {func(b *api.PutBegin) { b.Name = "a\nb" }, good, api.Invalid, "name"},
		"a long name":         {func(b *api.PutBegin) { b.Name = strings.Repeat("n", 65) }, good, api.Invalid, "name"},
		"no digest":           {func(b *api.PutBegin) { b.Digest = "" }, good, api.Invalid, "digest"},
		"another digest":      {func(b *api.PutBegin) { b.Digest = "s1-" + strings.Repeat("0", 64) }, good, api.Unavailable, "announced"},
		"size 0":              {func(b *api.PutBegin) { b.Size = 0 }, good, api.Invalid, "0 bytes"},
		"negative size":       {func(b *api.PutBegin) { b.Size = -5 }, good, api.Invalid, "bytes"},
		"absurd size":         {func(b *api.PutBegin) { b.Size = 1 << 60 }, good, api.Invalid, "bytes"},
		"fewer than said":     {func(b *api.PutBegin) { b.Size++ }, good, api.Invalid, "announced"},
		"more than said":      {func(b *api.PutBegin) { b.Size-- }, good, api.Invalid, "announced"},
		"no program":          {nil, []byte("hello, I am text\n"), api.Invalid, "not an ELF"},
		"a script":            {nil, []byte("#!/bin/sh\n"), api.Invalid, "script"},
		"nothing":             {func(b *api.PutBegin) { b.Size = 0 }, nil, api.Invalid, "bytes"},
		"of another computer": {nil, append(append([]byte(nil), good[:18]...), append([]byte{183}, good[19:]...)...), api.Invalid, "arm64"},
	} {
		g := newStore(t)
		b := announce(tt.bytes, "prog")
		if tt.change != nil {
			tt.change(&b)
		}
		st, err := g.begin("r", b)
		if err == nil {
			if err = g.data("r", st.Upload, tt.bytes); err == nil {
				_, err = g.end("r", st.Upload)
			}
		}
		if api.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want kind %q and a text with %q", name, err, tt.kind, tt.want)
		}
		if n := files(t, g, "upload-*") + files(t, g, "*/put-*") + files(t, g, "r/*"); n != 0 {
			t.Errorf("%s: %d files are left", name, n)
		}
	}
}

// An upload belongs to its realm, ends once, and does not stay for ever.
func TestUploadsAreTheirRealmsAlone(t *testing.T) {
	g := newStore(t)
	b := elf(100)
	st, err := g.begin("r1", announce(b, "prog"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.data("r2", st.Upload, b); api.KindOf(err) != api.NotFound {
		t.Errorf("another realm adds to it: %v", err)
	}
	if _, err := g.end("r2", st.Upload); api.KindOf(err) != api.NotFound {
		t.Errorf("another realm ends it: %v", err)
	}
	if err := g.data("r1", st.Upload, b); err != nil {
		t.Fatalf("its own realm: %v", err)
	}
	if _, err := g.end("r1", st.Upload); err != nil {
		t.Fatal(err)
	}
	if _, err := g.end("r1", st.Upload); api.KindOf(err) != api.NotFound {
		t.Errorf("it ends twice: %v", err)
	}
	// Abandoned ones are bounded, and go when others come.
	for i := range maxUploads {
		if _, err := g.begin("r1", announce(elf(200+i), "p")); err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
	}
	if _, err := g.begin("r1", announce(elf(9999), "p")); api.KindOf(err) != api.Busy {
		t.Errorf("one more: %v, want kind %q", err, api.Busy)
	}
	for _, u := range g.uploads {
		u.last = time.Now().Add(-2 * uploadIdle)
	}
	if _, err := g.begin("r1", announce(elf(9999), "p")); err != nil {
		t.Errorf("when they are old: %v", err)
	}
	if n := files(t, g, "upload-*"); n != 1 {
		t.Errorf("%d files of uploads", n)
	}
}

// A damaged index loses names, not programs.
func TestDamagedIndexIsSurvived(t *testing.T) {
	g := newStore(t)
	p, err := g.put("r1", "prog", elf(5), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.indexPath("r1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newPrograms(g.store)
	if _, err := h.resolve("r1", "/bin/prog"); api.KindOf(err) != api.NotFound {
		t.Errorf("%v", err)
	}
	if _, err := h.resolve("r1", p.Digest); err != nil {
		t.Errorf("by digest: %v", err)
	}
	if _, err := h.put("r1", "prog", elf(5), 1); err != nil {
		t.Errorf("naming it again: %v", err)
	}
	if got, err := h.resolve("r1", "/bin/prog"); err != nil || got.Digest != p.Digest {
		t.Errorf("%+v %v", got, err)
	}
}
