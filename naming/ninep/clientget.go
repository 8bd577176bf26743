package ninep

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Get returns the whole of a file of at most max bytes, and the attributes that
// it has with this content; larger is TooLarge. A small file takes one round trip.
func (f *Fid) Get(ctx context.Context, max int, names ...string) ([]byte, Walked, error) {
	if f.c.sigma {
		data, w, large, err := f.getSmall(ctx, max, names)
		if err != nil || !large {
			return data, w, err
		}
	}
	for range 4 {
		data, w, again, err := f.getLarge(ctx, max, names)
		if !again {
			return data, w, err
		}
	}
	return nil, Walked{}, api.E(api.Busy, "get", "", "it changes faster than it can be read; open it")
}

func (f *Fid) getSmall(ctx context.Context, most int, names []string) (data []byte, w Walked, large bool, err error) {
	if err := f.hold(); err != nil {
		return nil, w, false, err
	}
	defer f.release()
	p, err := f.path(names)
	if err != nil {
		return nil, w, false, err
	}
	var out rsget
	most = max(0, most)
	err = f.c.do2(ctx, "get", tSget, &sget{path: p, Max: uint32(min(most, f.c.msize))}, &out, func(message) error {
		data = bytes.Clone(out.Data)
		return nil
	})
	if err != nil {
		return nil, w, false, err
	}
	w, large = out.export(), out.Stop == stopLarge
	if large && w.Attr.Size > int64(most) {
		return nil, w, false, tooLarge(w.Attr, most)
	}
	return data, w, large, nil
}

func tooLarge(a tree.Attr, most int) error {
	return api.E(api.TooLarge, "get", "", "the file has %d bytes; %d were expected at most", a.Size, most)
}

// getLarge opens and reads a file; again says that it changed meanwhile.
func (f *Fid) getLarge(ctx context.Context, most int, names []string) (data []byte, w Walked, again bool, err error) {
	h, w, err := f.Open(ctx, tree.OpenMode{Read: true}, names...)
	if err != nil || h == nil {
		return nil, w, false, err
	}
	defer h.fid.Forget()
	defer closeFile(h.file)
	if w.Attr.Size > int64(most) {
		return nil, w, false, tooLarge(w.Attr, most)
	}
	data = make([]byte, w.Attr.Size)
	n, err := h.ReadAt(ctx, data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, w, false, err
	}
	after, err := h.Attr(ctx)
	return data[:n], w, err == nil && (n < len(data) || after.Version != w.Attr.Version), err
}

// do2 is do that calls with while the answer's bytes are there.
func (c *Client) do2(ctx context.Context, op string, typ uint8, m, out message, with func(message) error) error {
	k, err := c.start(ctx, typ, m, noFid)
	if err != nil {
		return err
	}
	r, err := c.wait(ctx, k)
	if err != nil {
		return err
	}
	defer c.pool.put(r.b)
	if err := c.decode(op, typ, r.b, out); err != nil {
		return err
	}
	return with(out)
}

func dupFile(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, api.E(api.Busy, "descriptor", f.Name(), "%v", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
