package ninep

import (
	"context"

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
