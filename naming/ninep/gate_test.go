package ninep

import (
	"context"
	"sync"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// gate is a tree whose operations a test can hold up and count.
type gate struct {
	tree.FS
	// before is called ahead of an operation on a file or handle; an error is
	// the operation's.
	before func(ctx context.Context, op string) error

	mu       sync.Mutex
	handles  int // open
	forgot   int // files that were forgotten
	canceled int // operations that were held up until their context ended
}

func (g *gate) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	f, err := g.FS.Attach(ctx, c, aname, fence)
	if err != nil {
		return nil, err
	}
	return &gateFile{f, g}, nil
}

func (g *gate) count(p *int, n int) {
	g.mu.Lock()
	*p += n
	g.mu.Unlock()
}

func (g *gate) get(p *int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return *p
}

func (g *gate) ahead(ctx context.Context, op string) error {
	if g.before == nil {
		return nil
	}
	return g.before(ctx, op)
}

// holding makes a gate that holds operations of one kind up until open is closed
// or their context ends; each says on came that it is there.
func holding(t *testing.T, op string) (g *gate, came chan struct{}, open chan struct{}) {
	came, open = make(chan struct{}, 1<<16), make(chan struct{})
	g = &gate{FS: fixed(t)}
	g.before = func(ctx context.Context, o string) error {
		if o != op {
			return nil
		}
		came <- struct{}{}
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			g.count(&g.canceled, 1)
			return ctx.Err()
		}
	}
	root, err := g.FS.Attach(ctxOf(t), caller(""), "", nil)
	if err == nil {
		err = furnish(t, root)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g, came, open
}

type gateFile struct {
	tree.File
	g *gate
}

func (f *gateFile) Forget() { f.g.count(&f.g.forgot, 1) }

func (f *gateFile) Walk(ctx context.Context, name string) (tree.File, error) {
	if err := f.g.ahead(ctx, "walk"); err != nil {
		return nil, err
	}
	n, err := f.File.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	return &gateFile{n, f.g}, nil
}

func (f *gateFile) Create(ctx context.Context, name string, n tree.NewFile) (tree.File, error) {
	if err := f.g.ahead(ctx, "create"); err != nil {
		return nil, err
	}
	c, err := f.File.Create(ctx, name, n)
	if err != nil {
		return nil, err
	}
	return &gateFile{c, f.g}, nil
}

func (f *gateFile) Open(ctx context.Context, m tree.OpenMode) (tree.Handle, error) {
	if err := f.g.ahead(ctx, "open"); err != nil {
		return nil, err
	}
	h, err := f.File.Open(ctx, m)
	if err != nil {
		return nil, err
	}
	f.g.count(&f.g.handles, 1)
	return &gateHandle{h, f.g}, nil
}

type gateHandle struct {
	tree.Handle
	g *gate
}

func (h *gateHandle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.g.ahead(ctx, "read"); err != nil {
		return 0, err
	}
	return h.Handle.ReadAt(ctx, p, off)
}

func (h *gateHandle) Close() error {
	h.g.count(&h.g.handles, -1)
	return h.Handle.Close()
}
