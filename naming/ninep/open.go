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

// Flags of Tlopen and Tlcreate that mean something here; the numbers are those
// of x86 Linux on every machine.
const (
	oAccess    = 0o3
	oReadOnly  = 0o0
	oWriteOnly = 0o1
	oReadWrite = 0o2
	oCreate    = 0o100
	oExclusive = 0o200
	oTruncate  = 0o1000
	oAppend    = 0o2000
	oDirectory = 0o200000
)

func openMode(op string, flags uint32) (tree.OpenMode, error) {
	m := tree.OpenMode{Truncate: flags&oTruncate != 0}
	switch flags & oAccess {
	case oReadOnly:
		m.Read = true
	case oWriteOnly:
		m.Write = true
	case oReadWrite:
		m.Read, m.Write = true, true
	default:
		return m, bad(op, "flags %#o open for nothing", flags)
	}
	m.Append = m.Write && flags&oAppend != 0
	return m, nil
}

func (f *fid) open() bool { return f.handle != nil || f.listing != nil }

func (s *server) iounit() uint32 { return uint32(s.msize-ioHead) &^ 511 }

func (m *lopen) fids() uses { return uses{{m.Fid, owns}} }

func (m *lopen) run(r *request) (message, error) {
	f := r.fid[0]
	if f.open() {
		return nil, badFid("open", f.num, "is open")
	}
	mode, err := openMode("open", m.Flags)
	if err != nil {
		return nil, err
	}
	p := f.place
	a, err := p.file.Attr(r.ctx)
	switch {
	case err != nil:
		return nil, err
	case a.IsDir():
		err = r.openDir(f, mode)
	case m.Flags&oDirectory != 0:
		err = api.E(api.NotDir, "open", p.name, "it is no directory")
	default:
		err = r.openFile(f, p.file, mode)
		if api.KindOf(err) == api.Denied {
			err = r.openOwn(f, a, mode, err)
		}
		if err == nil {
			r.s.opened(f, a.ID^p.salt)
		}
	}
	return &opened{Qid: qidOf(a, p.salt), Iounit: r.s.iounit()}, err
}

// openDir asks for one entry, to know whether the caller may read them.
func (r *request) openDir(f *fid, mode tree.OpenMode) error {
	if mode.Write || mode.Truncate {
		return api.E(api.IsDir, "open", f.place.name, "a directory is not written to")
	}
	if _, err := f.place.file.ReadDir(r.ctx, "", 1); err != nil {
		return err
	}
	if err := r.s.roomForHandle(); err != nil {
		return err
	}
	f.listing = &listing{}
	return nil
}

// openFile opens file for f, whose place it is or will be.
func (r *request) openFile(f *fid, file tree.File, mode tree.OpenMode) error {
	if err := r.s.roomForHandle(); err != nil {
		return err
	}
	return r.openCounted(f, file, mode)
}

// openCounted opens a file for which there is room.
func (r *request) openCounted(f *fid, file tree.File, mode tree.OpenMode) error {
	h, err := r.handle(file, mode)
	if err != nil {
		r.s.handleGone()
		return err
	}
	f.handle = h
	return nil
}

// openOwn opens a file of the caller's for what its mode forbids even to the
// owner. A kernel asks for that when a program writes to a read-only file that it
// has just made, and the kernel wants to read what is around the bytes; it has
// done the checks that hold on its machine. σ's clients do not need it.
func (r *request) openOwn(f *fid, a tree.Attr, mode tree.OpenMode, denied error) error {
	if r.s.sigma || a.Owner != r.s.caller.User || a.Mode&tree.ModeType != tree.ModeFile {
		return denied
	}
	old := a.Mode & tree.ModePerm
	perm := old | 0o600
	if _, err := f.place.file.SetAttr(r.ctx, tree.SetAttr{Perm: &perm}); err != nil {
		return denied
	}
	err := r.openFile(f, f.place.file, mode)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeTimeout)
	defer cancel()
	if _, back := f.place.file.SetAttr(ctx, tree.SetAttr{Perm: &old}); err == nil && back != nil {
		r.s.closeHandle(f)
		return back
	}
	return err
}

func (r *request) handle(file tree.File, mode tree.OpenMode) (tree.Handle, error) {
	if mode.Truncate && !mode.Write { // Linux allows it to those who may write
		size := int64(0)
		if _, err := file.SetAttr(r.ctx, tree.SetAttr{Size: &size}); err != nil {
			return nil, err
		}
		mode.Truncate = false
	}
	return file.Open(r.ctx, mode)
}

func (m *lcreate) fids() uses { return uses{{m.Fid, owns}} }

func (m *lcreate) run(r *request) (message, error) {
	f := r.fid[0]
	if f.open() {
		return nil, badFid("create", f.num, "is open")
	}
	mode, err := openMode("create", m.Flags)
	if err != nil {
		return nil, err
	}
	n := tree.NewFile{Mode: tree.ModeFile | m.Mode&tree.ModePerm, Exclusive: m.Flags&oExclusive != 0}
	p, a, err := r.create(f, f.place, m.Name, n, mode)
	if err != nil {
		return nil, err
	}
	f.place.drop()
	f.place = p
	return &opened{Qid: qidOf(a, p.salt), Iounit: r.s.iounit()}, nil
}

// create makes an entry of dir and opens it for f. A new file may be opened for
// what its own mode forbids: programs make files that are read-only, and fill
// them.
func (r *request) create(f *fid, dir *place, name string, n tree.NewFile, mode tree.OpenMode) (p *place, a tree.Attr, err error) {
	if err := checkName("create", name); err != nil {
		return nil, a, err
	}
	if err := r.s.roomForHandle(); err != nil { // or the file would be made in vain
		return nil, a, err
	}
	first := n
	first.Exclusive = true
	if mode.Read {
		first.Mode |= tree.MayRead << 6
	}
	if mode.Write {
		first.Mode |= tree.MayWrite << 6
	}
	file, err := dir.file.Create(r.ctx, name, first)
	fresh := err == nil
	if api.KindOf(err) == api.Exists && !n.Exclusive {
		file, err = dir.file.Create(r.ctx, name, n)
	}
	if err != nil {
		r.s.handleGone()
		return nil, a, err
	}
	mode.Truncate = mode.Truncate && !fresh
	if err = r.openCounted(f, file, mode); err == nil && fresh && first.Mode != n.Mode {
		perm := n.Mode & tree.ModePerm
		_, err = file.SetAttr(r.ctx, tree.SetAttr{Perm: &perm})
	}
	if err == nil {
		a, err = file.Attr(r.ctx)
	}
	if err == nil {
		r.s.opened(f, a.ID^dir.salt)
	}
	if err != nil {
		r.s.closeHandle(f)
		forget(file)
		return nil, a, err
	}
	return dir.below(name, file, a), a, nil
}

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
