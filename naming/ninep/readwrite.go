package ninep

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"syscall"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// framed is an answer that was built in its buffer: readHead bytes of room, then
// the data.
type framed struct{ *buffer }

func (*framed) code(*coder) {}

func (f *framed) finish(r *request) []byte {
	binary.LittleEndian.PutUint32(f.b, uint32(len(f.b)))
	f.b[4] = r.typ + 1
	binary.LittleEndian.PutUint16(f.b[5:], r.tag)
	binary.LittleEndian.PutUint32(f.b[headerSize:], uint32(len(f.b)-readHead))
	return f.b
}

func (m *read) fids() uses      { return share(m.Fid) }
func (m *read) answerSize() int { return readHead + int(min(m.Count, maxSigma)) }

func (m *read) run(r *request) (message, error) {
	h, err := r.openHandle("read")
	if err != nil {
		return nil, err
	}
	if m.Offset > math.MaxInt64 {
		return nil, bad("read", "offset %d is beyond every file", m.Offset)
	}
	b := r.s.pool.get(readHead + int(min(m.Count, uint32(r.s.msize-readHead))))
	data, err := readFull(r.ctx, h, b.b[readHead:], int64(m.Offset))
	if err != nil && len(data) == 0 {
		r.s.pool.put(b)
		return nil, err
	}
	b.b = b.b[:readHead+len(data)]
	return &framed{b}, nil
}

// readFull fills buf, so that fewer bytes mean the end of the file. Bytes that
// came before an error are returned with it.
func readFull(ctx context.Context, h tree.Handle, buf []byte, off int64) ([]byte, error) {
	n := 0
	for n < len(buf) {
		k, err := h.ReadAt(ctx, buf[n:], off+int64(n))
		n += k
		if errors.Is(err, io.EOF) || err == nil && k == 0 {
			break
		}
		if err != nil {
			return buf[:n], err
		}
		if off > math.MaxInt64-int64(n) {
			break
		}
	}
	return buf[:n], nil
}

func (r *request) openHandle(op string) (tree.Handle, error) {
	f := r.fid[0]
	switch {
	case f.handle != nil:
		return f.handle, nil
	case f.listing != nil:
		return nil, api.E(api.IsDir, op, f.place.name, "it is a directory")
	}
	return nil, badFid(op, f.num, "is not open")
}

func (m *write) fids() uses { return share(m.Fid) }

func (m *write) run(r *request) (message, error) {
	h, err := r.openHandle("write")
	if err != nil {
		return nil, err
	}
	if m.Offset > math.MaxInt64-uint64(len(m.Data)) {
		return nil, &numbered{err: api.E(api.TooLarge, "write", "", "offset %d is beyond every file", m.Offset), errno: syscall.EFBIG}
	}
	n, err := h.WriteAt(r.ctx, m.Data, int64(m.Offset))
	if n > 0 {
		err = nil // the next write meets it again
	}
	return &rwrite{Count: uint32(n)}, err
}

func (m *fsync) fids() uses { return share(m.Fid) }

func (m *fsync) run(r *request) (message, error) {
	if h := r.fid[0].handle; h != nil {
		return &empty{}, h.Sync(r.ctx)
	}
	return &empty{}, nil
}
