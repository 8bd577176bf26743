package ninep

import (
	"context"
	"errors"
	"io"

	"sigmaos/api"
)

// ReadAt reads len(p) bytes, or up to the end and returns io.EOF.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.fid.hold(); err != nil {
		return 0, err
	}
	defer h.fid.release()
	switch {
	case off < 0:
		return 0, bad("read", "an offset below zero")
	case len(p) == 0:
		return 0, nil
	case h.file != nil:
		return h.readFile(p, off)
	}
	for n := 0; n < len(p); {
		end := min(len(p), n+ahead*h.iounit)
		k, err := h.readPieces(ctx, p[n:end], off+int64(n))
		if n += k; err == nil && h.fid.c.sigma && n < end {
			err = io.EOF // such a server fills what it can
		}
		if err != nil {
			return n, err
		}
	}
	return len(p), nil
}

func (h *Handle) readFile(p []byte, off int64) (int, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n, err := h.file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = api.E(api.Internal, "read", "", "%v", err)
	}
	return n, err
}

// readPieces reads up to ahead pieces at once; fewer bytes than asked for and no
// error ask for another round.
func (h *Handle) readPieces(ctx context.Context, p []byte, off int64) (int, error) {
	n, short := 0, false
	err := h.pieces(len(p), func(at, size int) (*call, error) {
		m := &span{Fid: h.fid.num, Offset: uint64(off) + uint64(at), Count: uint32(size)}
		return h.fid.c.start(ctx, tRead, m, noFid)
	}, func(k *call, at, size int) error {
		r, err := h.fid.c.wait(ctx, k)
		if err != nil {
			return err
		}
		defer h.fid.c.pool.put(r.b)
		var d rdata
		if err := h.fid.c.decode("read", tRead, r.b, &d); err != nil {
			return err
		}
		if !short {
			n += copy(p[at:at+size], d.Data)
			short = len(d.Data) < size
		}
		return nil
	})
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// pieces starts a call for each piece of n bytes and ends them all, in order; the
// first error is returned.
func (h *Handle) pieces(n int, start func(at, size int) (*call, error), end func(k *call, at, size int) error) error {
	var first error
	var calls []*call
	for at := 0; at < n && first == nil; at += h.iounit {
		k, err := start(at, min(h.iounit, n-at))
		if first = err; err == nil {
			calls = append(calls, k)
		}
	}
	for i, k := range calls {
		at := i * h.iounit
		if err := end(k, at, min(h.iounit, n-at)); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// WriteAt writes p. Of a large p the pieces are written at once; of one that
// appends, one behind the other, with others' between them perhaps.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.fid.hold(); err != nil {
		return 0, err
	}
	defer h.fid.release()
	if off < 0 {
		return 0, bad("write", "an offset below zero")
	}
	round := ahead * h.iounit
	if h.mode.Append {
		round = h.iounit
	}
	for n := 0; ; {
		end := min(len(p), n+round)
		k, err := h.writePieces(ctx, p[n:end], uint64(off)+uint64(n))
		n += k
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

func (h *Handle) writePieces(ctx context.Context, p []byte, off uint64) (int, error) {
	n, whole := 0, true
	err := h.pieces(max(1, len(p)), func(at, size int) (*call, error) {
		m := &write{Fid: h.fid.num, Offset: off + uint64(at), Data: p[at:min(at+size, len(p))]}
		return h.fid.c.start(ctx, tWrite, m, noFid)
	}, func(k *call, at, size int) error {
		r, err := h.fid.c.wait(ctx, k)
		if err != nil {
			whole = false
			return err
		}
		defer h.fid.c.pool.put(r.b)
		var w rwrite
		if err := h.fid.c.decode("write", tWrite, r.b, &w); err != nil {
			whole = false
			return err
		}
		if whole {
			n += min(int(w.Count), size, len(p)-at)
			whole = int(w.Count) >= min(size, len(p)-at)
		}
		return nil
	})
	if err == nil && n == 0 && len(p) > 0 {
		err = api.E(api.Unavailable, "write", "", "the server wrote nothing and said no reason")
	}
	return n, err
}
