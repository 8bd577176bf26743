package ninep

import (
	"context"
	"os"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Handle is an open file of a server. It is a [tree.Handle]; where the server
// handed its descriptor over, reads are system calls on that.
type Handle struct {
	fid    *Fid
	mode   tree.OpenMode
	iounit int
	file   *os.File

	mu sync.RWMutex // closing waits for reads of file
}

// ahead is how many pieces of a large read or write are under way at once.
const ahead = 8

// Open opens the file at the end of names. There is no Handle when a link is in
// the way.
func (f *Fid) Open(ctx context.Context, m tree.OpenMode, names ...string) (*Handle, Walked, error) {
	if err := f.hold(); err != nil {
		return nil, Walked{}, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainOpen(ctx, m, names)
	}
	p, err := f.path(names)
	if err != nil {
		return nil, Walked{}, err
	}
	num := f.c.newFid()
	msg := &sopen{path: p, NewFid: num, Open: bitsOf(m), Want: f.c.takesFiles()}
	return f.c.opened(ctx, "open", tSopen, msg, num, m)
}

// CreateOpen makes a file and opens it, in one step for those who watch. Unless
// it is exclusive, what is there is opened.
func (f *Fid) CreateOpen(ctx context.Context, n tree.NewFile, m tree.OpenMode, names ...string) (*Handle, Walked, error) {
	if err := f.hold(); err != nil {
		return nil, Walked{}, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainCreateOpen(ctx, n, m, names)
	}
	p, err := f.path(names)
	if err != nil {
		return nil, Walked{}, err
	}
	num := f.c.newFid()
	return f.c.opened(ctx, "create", tScreate, &screate{path: p, NewFid: num, New: n, Open: bitsOf(m)}, num, m)
}

func (c *Client) opened(ctx context.Context, op string, typ uint8, m message, num uint32, mode tree.OpenMode) (*Handle, Walked, error) {
	var out ropened
	file, err := c.doMaking(ctx, op, typ, m, &out, num)
	if err != nil {
		return nil, Walked{}, err
	}
	if out.Stop != stopDone {
		closeFile(file)
		c.freeFid(num)
		return nil, out.export(), nil
	}
	return c.handleOn(c.newPlace(num), mode, out.Iounit, file), out.export(), nil
}

func (c *Client) handleOn(f *Fid, mode tree.OpenMode, iounit uint32, file *os.File) *Handle {
	most := c.msize - ioHead
	if iounit == 0 || int(iounit) > most {
		iounit = uint32(most)
	}
	return &Handle{fid: f, mode: mode, iounit: int(iounit), file: file}
}

// Sync returns when what was written is as safe as the server makes it.
func (h *Handle) Sync(ctx context.Context) error {
	if err := h.fid.hold(); err != nil {
		return err
	}
	defer h.fid.release()
	return h.fid.c.do(ctx, "sync", tFsync, &fsync{Fid: h.fid.num}, &empty{})
}

// Close ends the open file; the error may be that of a write.
func (h *Handle) Close() error {
	err := h.fid.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file != nil {
		h.file.Close()
	}
	return err
}

// Abandon ends the open file as if it had not been opened, where the server makes
// files when they are closed; elsewhere it is Close.
func (h *Handle) Abandon() error {
	err := h.fid.end(h.fid.c.abandons())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file != nil {
		h.file.Close()
	}
	return err
}

// abandons is the message that ends a fid without closing its file.
func (c *Client) abandons() (uint8, string) {
	if c.sigma {
		return tSabandon, "abandon"
	}
	return tClunk, "close"
}

// Attr and SetAttr are those of the open file, also when its entry is gone.
func (h *Handle) Attr(ctx context.Context) (tree.Attr, error) {
	w, err := h.fid.Stat(ctx)
	return w.Attr, err
}

// SetAttr changes them.
func (h *Handle) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	w, err := h.fid.SetAttr(ctx, s)
	return w.Attr, err
}

// Descriptor gives a copy of the descriptor that the server handed over.
func (h *Handle) Descriptor() (*os.File, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.file == nil {
		return nil, api.E(api.Unsupported, "descriptor", "", "the file is not on this machine")
	}
	return dupFile(h.file)
}
