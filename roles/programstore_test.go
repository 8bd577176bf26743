package roles

import (
	"context"
	"math/rand/v2"
	"net"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve/over9p"
	"sigmaos/naming/tree"
	"sigmaos/runtime/binfs"
)

// stored puts a program of n chunks at b/name of a tree, where its origin finds it.
func stored(t *testing.T, at *pathServer, name string, n int) (*storeOrigin, binfs.Digest, *openFile) {
	t.Helper()
	text := make([]byte, n*binfs.ChunkSize)
	rand.NewChaCha8([32]byte([]byte(name + "00000000000000000000000000000000")[:32])).Read(text)
	var sum binfs.Summer
	sum.Write(text)
	o, d, _, err := sum.Opening().Pin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := at.Root.Put(t.Context(), tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: text}, "b", name); err != nil {
		t.Fatal(err)
	}
	f := &openFile{at: at, names: []string{"b", name}, end: func() {}}
	if f.h, _, err = at.Root.Open(t.Context(), tree.OpenMode{Read: true}, "b", name); err == nil {
		f.attr, err = f.h.Attr(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	path := "/s3/n/b/" + name
	return &storeOrigin{path: path, key: keyOf("r", path, f.attr), opening: o}, d, f
}

// What starts are seen to touch is kept in memory no further than what came with the
// programs.
func TestLearnedChunksAreBounded(t *testing.T) {
	m := memfs.New(memfs.Options{Mode: 0o777})
	a, b := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		ninep.Serve(context.Background(), a, api.Caller{Realm: "r"}, m, ninep.Options{})
	}()
	c, err := ninep.NewClient(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { c.Close(); <-served; m.Close() }()
	root, _, err := c.Attach(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := &pathServer{c: c, Server: over9p.Server{Root: root}}
	if _, _, err := root.Create(t.Context(), tree.NewFile{Mode: tree.ModeDir | 0o777}, "b"); err != nil {
		t.Fatal(err)
	}
	const chunks = 12
	i := &inStores{most: 20 * binfs.ChunkSize}
	defer i.close()
	inMemory := func() (n int) {
		for _, o := range i.places {
			n += len(o.start().Data)
		}
		return n / binfs.ChunkSize
	}
	var p binfs.Profile
	for k := range uint32(chunks) {
		p = append(p, k)
	}
	var origins []*storeOrigin
	var digests []binfs.Digest
	for _, name := range []string{"one", "two", "three"} {
		o, d, f := stored(t, at, name, chunks)
		i.add("r", d, o, f)
		origins, digests = append(origins, o), append(digests, d)
	}
	for k, o := range origins {
		if err := o.Learn(t.Context(), "r", digests[k], p); err != nil {
			t.Fatal(err)
		}
		if n := inMemory(); n > i.most/binfs.ChunkSize {
			t.Errorf("after %d of them were learned, %d chunks are in memory; at most %d", k+1, n, i.most/binfs.ChunkSize)
		}
		if n := len(o.start().Data) / binfs.ChunkSize; n != chunks {
			t.Errorf("of the one learned last there are %d chunks, want %d", n, chunks)
		}
		if got := o.start().Profile; len(got) != chunks {
			t.Errorf("its profile is %v", got)
		}
	}
	for k, o := range origins { // of whom others ask what was dropped
		b, err := o.Chunks(t.Context(), "r", digests[k], []uint32{0, 5})
		if err != nil || len(b) != 2*binfs.ChunkSize {
			t.Errorf("%s gives %d bytes, %v", o.path, len(b), err)
		}
	}
}
