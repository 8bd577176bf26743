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
	"sigmaos/naming/tree"
	"sigmaos/runtime/binfs"
)

// pathTime bounds the reading of a program from the realm's name space.
const pathTime = 15 * time.Second

// maxFromPath is the largest program that is taken from a path.
const maxFromPath = 2 << 30

// published knows programs at paths of the realms' name spaces (/ux, /s3, the
// root), pinned by their digest. What a path meant once it means until the file
// there has another version. Where the store keeps the digest tree beside a
// program, its bytes stay there until a start touches them; others are taken into
// this node's store.
type published struct {
	s      *System
	stores *inStores
	chain  *binfs.Chain

	mu    sync.Mutex
	known map[publishedKey]api.Program
	paths map[programName]bool // of those
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

// program finds the program at a path as c may read it, once for each version.
func (p *published) program(c api.Caller, path string) (prog api.Program, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), pathTime)
	defer cancel()
	b := besideReader{ctx: ctx, path: path}
	also := b.begin
	p.mu.Lock()
	if p.paths[programName{c.Realm, path}] { // it will not be wanted
		also = nil
	}
	p.mu.Unlock()
	f, err := p.stores.ways.open(ctx, c, path, also)
	if err != nil {
		return prog, err
	}
	defer func() {
		if f != nil {
			f.close()
		}
	}()
	if f.attr.Mode&tree.ModeType != tree.ModeFile || f.attr.Size <= 0 || f.attr.Size > maxFromPath {
		return prog, api.E(api.Invalid, "spawn", path, "no program: want a file of 1 to %d bytes, not of %d", int64(maxFromPath), f.attr.Size)
	}
	key := keyOf(c.Realm, path, f.attr)
	p.mu.Lock()
	known, ok := p.known[key]
	p.mu.Unlock()
	if d := binfs.Digest(known.Digest); ok && (p.s.store.Load().Has(c.Realm, d) || p.stores.at(c.Realm, d) != nil) {
		return known, nil
	}
	o, kept, err := b.of(f)
	switch {
	case err != nil:
		return prog, err
	case kept:
		if prog, err = p.leave(ctx, c, key, b.version, o, f); err == nil {
			f = nil // it is the origin's
		}
	default:
		prog, err = p.take(ctx, key, f.h)
	}
	if err != nil {
		return prog, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxNames {
		p.known, p.paths = make(map[publishedKey]api.Program), make(map[programName]bool)
	}
	p.known[key], p.paths[programName{c.Realm, path}] = prog, true
	return prog, nil
}

// leave remembers where a program is whose tree was kept beside it, and takes f
// over unless it fails.
func (p *published) leave(ctx context.Context, c api.Caller, key publishedKey, kept uint64, o binfs.Opening, f *openFile) (prog api.Program, err error) {
	o, d, size, err := o.Pin()
	if err != nil || size != key.size {
		return prog, api.E(api.Unavailable, "spawn", key.path, "what the store keeps beside the program is not about it; put the program anew")
	}
	if err := binfs.CheckELF(openingReader{o, handleReader{ctx, f.h}}, size, goruntime.GOARCH); err != nil {
		return prog, api.E(api.Invalid, "spawn", key.path, "%v", err)
	}
	p.stores.add(key.realm, d, &storeOrigin{ways: p.stores.ways, c: c, path: key.path, key: key, kept: kept, opening: o}, f)
	p.chain.Favour(key.realm, d, key.path)
	return api.Program{Name: gopath.Base(key.path), Digest: string(d), Size: size}, nil
}

// take reads all of a program into this node's store.
func (p *published) take(ctx context.Context, key publishedKey, h *ninep.Handle) (prog api.Program, err error) {
	if err := binfs.CheckELF(handleReader{ctx, h}, key.size, goruntime.GOARCH); err != nil {
		return prog, api.E(api.Invalid, "spawn", key.path, "%v", err)
	}
	d, err := p.s.store.Load().Put(key.realm, io.NewSectionReader(handleReader{ctx, h}, 0, key.size), "", maxFromPath)
	if err != nil {
		return prog, api.E(api.Unavailable, "spawn", key.path, "%v", err)
	}
	if now, err := h.Attr(ctx); err != nil || keyOf(key.realm, key.path, now) != key {
		return prog, api.E(api.Busy, "spawn", key.path, "the file changed while it was read; spawn again")
	}
	return api.Program{Name: gopath.Base(key.path), Digest: string(d), Size: key.size}, nil
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
