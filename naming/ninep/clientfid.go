package ninep

import (
	"context"
	"sync/atomic"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Fid is a place on the server. Its operations take the names of a path below
// it, none for the place itself. They do not follow links: Walked says where one
// was met, and the caller goes on from there.
type Fid struct {
	c     *Client
	num   uint32
	ended atomic.Bool
	uses  atomic.Int32 // calls under way, and one until it is ended
}

// Done is closed when the connection to the place's server is lost.
func (f *Fid) Done() <-chan struct{} { return f.c.done }

func (c *Client) newPlace(num uint32) *Fid {
	f := &Fid{c: c, num: num}
	f.uses.Store(1)
	return f
}

// hold keeps the number from being given to another place; release must follow.
func (f *Fid) hold() error {
	for {
		n := f.uses.Load()
		if n == 0 {
			return badFid("file", f.num, "was closed")
		}
		if f.uses.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

func (f *Fid) release() {
	if f.uses.Add(-1) == 0 {
		f.c.clunkLater(f.num)
	}
}

// Walked says how an operation by path ended.
type Walked struct {
	Names int       // that were consumed
	Attr  tree.Attr // of what is there
	// Link says that it ended at a link, Attr's, and nothing was done. Names
	// behind Names are left; none may be, when the path's end is a link that the
	// operation does not act on itself.
	Link bool
}

func (w *walked) export() Walked {
	return Walked{Names: int(w.Names), Attr: w.Attr, Link: w.Stop == stopLink}
}

// Attach gives the root of what is wanted of the server's tree, "" for all.
// Writes below it carry the fence, where there is one.
func (c *Client) Attach(ctx context.Context, path string, fence *tree.Fence) (*Fid, tree.Attr, error) {
	if !c.sigma {
		return c.plainAttach(ctx, path, fence)
	}
	m := &sattach{Path: path}
	if fence != nil {
		m.Fenced, m.Fence = true, *fence
	}
	if len(path) > tree.MaxPath || fence != nil && len(fence.Path) > tree.MaxPath {
		return nil, tree.Attr{}, api.E(api.TooLarge, "attach", "", "a path has at most %d bytes", tree.MaxPath)
	}
	var w walked
	f, err := c.making(ctx, "attach", tSattach, func(num uint32) message { m.Fid = num; return m }, &w)
	return f, w.Attr, err
}

// making sends a request that makes a fid.
func (c *Client) making(ctx context.Context, op string, typ uint8, m func(num uint32) message, out message) (*Fid, error) {
	num := c.newFid()
	if _, err := c.doMaking(ctx, op, typ, m(num), out, num); err != nil {
		return nil, err
	}
	return c.newPlace(num), nil
}

// Walk gives the place at the end of names; none clones the Fid. At a link on
// the way there is no Fid. A link at the end is a place like others.
func (f *Fid) Walk(ctx context.Context, names ...string) (*Fid, Walked, error) {
	if err := f.hold(); err != nil {
		return nil, Walked{}, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainWalk(ctx, names)
	}
	p, err := f.path(names)
	if err != nil {
		return nil, Walked{}, err
	}
	var w walked
	g, err := f.c.making(ctx, "walk", tSwalk, func(num uint32) message { return &swalk{path: p, NewFid: num} }, &w)
	if err == nil && w.Stop != stopDone { // the server made none
		f.c.freeFid(g.num)
		g = nil
	}
	return g, w.export(), err
}

// path checks what a message cannot hold.
func (f *Fid) path(names []string) (path, error) {
	n := 0
	for _, s := range names {
		n += len(s) + 1
	}
	if n > tree.MaxPath || len(names) > maxNames {
		return path{}, api.E(api.TooLarge, "walk", "", "the path has %d bytes; the limit is %d", n, tree.MaxPath)
	}
	return path{Fid: f.num, Names: names}, nil
}

// byPath sends a request that is answered with how the walk ended.
func (f *Fid) byPath(ctx context.Context, op string, typ uint8, names []string, m func(path) message) (Walked, error) {
	p, err := f.path(names)
	if err != nil {
		return Walked{}, err
	}
	var w walked
	err = f.c.do(ctx, op, typ, m(p), &w)
	return w.export(), err
}

// Space says how much room is left on the server.
func (f *Fid) Space(ctx context.Context) (tree.Space, error) {
	if err := f.hold(); err != nil {
		return tree.Space{}, err
	}
	defer f.release()
	var s rstatfs
	if err := f.c.do(ctx, "statfs", tStatfs, &onFid{f.num}, &s); err != nil {
		return tree.Space{}, err
	}
	size := int64(s.BlockSize)
	return tree.Space{Bytes: int64(s.Blocks) * size, FreeBytes: int64(s.Avail) * size, Files: int64(s.Files), FreeFiles: int64(s.FilesFree)}, nil
}

// Close ends the fid and what is open at it, and waits for the server to say so;
// if calls are under way, the last of them ends it.
func (f *Fid) Close() error { return f.end(tClunk, "close") }

func (f *Fid) end(typ uint8, op string) error {
	if f.ended.Swap(true) {
		return nil
	}
	if !f.uses.CompareAndSwap(1, 0) {
		f.release()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := f.c.do(ctx, op, typ, &onFid{f.num}, &empty{})
	if ctx.Err() == nil {
		f.c.freeFid(f.num)
	}
	return err
}

// gone is for a fid that the server has ended.
func (f *Fid) gone() {
	if !f.ended.Swap(true) && f.uses.CompareAndSwap(1, 0) {
		f.c.freeFid(f.num)
	}
}

// Forget ends the fid without waiting.
func (f *Fid) Forget() {
	if !f.ended.Swap(true) {
		f.release()
	}
}
