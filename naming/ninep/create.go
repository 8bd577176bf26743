package ninep

import (
	"sigmaos/api"
	"sigmaos/naming/tree"
)

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
	if d, ok := dir.file.(tree.CreateOpener); ok {
		return r.createLater(d, f, dir, name, n, mode)
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

// createLater is create where a file comes to be when its handle is closed.
func (r *request) createLater(d tree.CreateOpener, f *fid, dir *place, name string, n tree.NewFile, mode tree.OpenMode) (*place, tree.Attr, error) {
	file, h, err := d.CreateOpen(r.ctx, name, n, mode)
	if err != nil {
		r.s.handleGone()
		return nil, tree.Attr{}, err
	}
	f.handle = h
	a, err := attrOf(r, h, file)
	if err != nil {
		r.s.abandon(f)
		forget(file)
		return nil, a, err
	}
	r.s.opened(f, a.ID^dir.salt)
	return dir.below(name, file, a), a, nil
}
