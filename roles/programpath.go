package roles

import (
	"context"
	"fmt"
	"io"
	gopath "path"
	goruntime "runtime"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
	"sigmaos/runtime/binfs"
)

// pathTime bounds the reading of a program from the realm's name space.
const pathTime = 15 * time.Second

// maxFromPath is the largest program that is taken from a path.
const maxFromPath = 2 << 30

// published takes programs from paths of the realms' name spaces (/ux, /s3, the
// root) into this node's store, where they are pinned by their digest. What a
// path meant once it means until the file there has another version.
type published struct {
	s *System

	mu    sync.Mutex
	known map[publishedKey]api.Program
}

// publishedKey is a file as it was; Modified is for servers whose versions begin
// anew.
type publishedKey struct {
	realm, path string
	id, version uint64
	size        int64
	modified    int64
}

func keyOf(realm, path string, a tree.Attr) publishedKey {
	return publishedKey{realm, path, a.ID, a.Version, a.Size, a.Modified.UnixNano()}
}

// program reads the program at a path as c may, once for each version of it.
func (p *published) program(c api.Caller, path string) (prog api.Program, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), pathTime)
	defer cancel()
	r, end := p.s.resolver(ctx, c, nil)
	defer end()
	err = r.Do(ctx, path, func(ctx context.Context, ps *pathServer, names []string) (*resolve.Stop, error) {
		h, w, err := ps.Root.Open(ctx, tree.OpenMode{Read: true}, names...)
		switch {
		case err != nil:
			return nil, err
		case h == nil:
			return &resolve.Stop{Names: w.Names, Link: w.Attr}, nil
		}
		defer h.Close()
		prog, err = p.take(ctx, c.Realm, path, h)
		return nil, err
	})
	return prog, err
}

// take stores what h has, unless that was done before.
func (p *published) take(ctx context.Context, realm, path string, h *ninep.Handle) (api.Program, error) {
	none := api.Program{}
	a, err := h.Attr(ctx)
	if err != nil {
		return none, err
	}
	if a.Mode&tree.ModeType != tree.ModeFile || a.Size <= 0 || a.Size > maxFromPath {
		return none, api.E(api.Invalid, "spawn", path, "no program: want a file of 1 to %d bytes, not of %d", int64(maxFromPath), a.Size)
	}
	st, key := p.s.store.Load(), keyOf(realm, path, a)
	p.mu.Lock()
	prog, ok := p.known[key]
	p.mu.Unlock()
	if ok && st.Has(realm, binfs.Digest(prog.Digest)) {
		return prog, nil
	}
	if err := binfs.CheckELF(handleReader{ctx, h}, a.Size, goruntime.GOARCH); err != nil {
		return none, api.E(api.Invalid, "spawn", path, "%v", err)
	}
	d, err := st.Put(realm, io.NewSectionReader(handleReader{ctx, h}, 0, a.Size), "", maxFromPath)
	if err != nil {
		return none, api.E(api.Unavailable, "spawn", path, "%v", err)
	}
	if now, err := h.Attr(ctx); err != nil || keyOf(realm, path, now) != key {
		return none, api.E(api.Busy, "spawn", path, "the file changed while it was read; spawn again")
	}
	prog = api.Program{Name: gopath.Base(path), Digest: string(d), Size: a.Size}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxNames {
		p.known = make(map[publishedKey]api.Program)
	}
	p.known[key] = prog
	return prog, nil
}

// handleReader is a Handle as io.ReaderAt. A file that ends too early is an
// error: Put would take it for a shorter program.
type handleReader struct {
	ctx context.Context
	h   *ninep.Handle
}

func (r handleReader) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		k, err := r.h.ReadAt(r.ctx, b[n:], off+int64(n))
		n += k
		switch {
		case err == io.EOF && n > 0 || err == nil && k == 0:
			return n, io.ErrUnexpectedEOF
		case err != nil:
			return n, fmt.Errorf("reading it: %w", err)
		}
	}
	return n, nil
}
