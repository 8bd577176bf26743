package ninep

import (
	"syscall"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// made makes an entry in the directory of r's fid and answers with its qid.
func (r *request) made(op, name string, n tree.NewFile) (message, error) {
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	n.Exclusive = true
	dir := r.fid[0].place
	f, err := dir.file.Create(r.ctx, name, n)
	if err != nil {
		return nil, err
	}
	defer forget(f)
	a, err := f.Attr(r.ctx)
	return &rqid{Qid: qidOf(a, dir.salt)}, err
}

func (m *symlink) fids() uses { return share(m.Dir) }

func (m *symlink) run(r *request) (message, error) {
	return r.made("symlink", m.Name, tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: m.Target})
}

func (m *mkdir) fids() uses { return share(m.Dir) }

func (m *mkdir) run(r *request) (message, error) {
	return r.made("mkdir", m.Name, tree.NewFile{Mode: tree.ModeDir | m.Mode&tree.ModePerm})
}

func (m *mknod) fids() uses { return share(m.Dir) }

func (m *mknod) run(r *request) (message, error) {
	if t := m.Mode & tree.ModeType; t != tree.ModeFile && t != 0 {
		return nil, notPermitted("mknod", m.Name, "there are no devices, pipes or sockets here")
	}
	return r.made("mknod", m.Name, tree.NewFile{Mode: tree.ModeFile | m.Mode&tree.ModePerm})
}

func (m *link) fids() uses { return uses{{m.Dir, shares}, {m.Fid, shares}} }

// run: EPERM is what file systems without hard links say; git, rsync and cp then
// do without.
func (m *link) run(*request) (message, error) {
	return nil, notPermitted("link", m.Name, "a file has one name here")
}

func notPermitted(op, name, why string) error {
	return &numbered{err: api.E(api.Unsupported, op, name, "%s", why), errno: syscall.EPERM}
}

func (m *readlink) fids() uses { return share(m.Fid) }

func (m *readlink) run(r *request) (message, error) {
	a, err := r.attr()
	if err == nil && a.Mode&tree.ModeType != tree.ModeSymlink {
		err = bad("readlink", "it is no symbolic link")
	}
	return &rreadlink{Target: a.Target}, err
}

func (m *renameat) fids() uses { return uses{{m.OldDir, shares}, {m.NewDir, shares}} }

func (m *renameat) run(r *request) (message, error) {
	return &empty{}, rename2(r, r.fid[0].place, m.OldName, r.second().place, m.NewName)
}

// second is the second fid of r, which may be the first one again.
func (r *request) second() *fid {
	if r.fid[1] != nil {
		return r.fid[1]
	}
	return r.fid[0]
}

// rename2 moves an entry. A tree that cannot is, to Linux, two file systems: then
// mv copies.
func rename2(r *request, from *place, name string, to *place, newName string) error {
	for _, n := range []string{name, newName} {
		if err := checkName("rename", n); err != nil {
			return err
		}
	}
	err := from.file.Rename(r.ctx, name, to.file, newName)
	if api.KindOf(err) == api.Unsupported {
		return &numbered{err: asError("rename", err), errno: syscall.EXDEV}
	}
	return err
}

func (m *rename) fids() uses { return uses{{m.Fid, owns}, {m.Dir, shares}} }

func (m *rename) run(r *request) (message, error) {
	f, dir := r.fid[0], r.second().place
	p := f.place
	if p.parent == nil {
		return nil, errRoot("rename")
	}
	if err := p.same(r.ctx, "rename"); err != nil {
		return nil, err
	}
	if err := rename2(r, p.parent, p.name, dir, m.Name); err != nil {
		return nil, err
	}
	if !f.open() { // follow it; who has it open does not walk from it
		if q, _, err := r.step(dir, m.Name); err == nil {
			f.place = q
			p.drop()
		}
	}
	return &empty{}, nil
}

const atRemoveDir = 0x200

func (m *unlinkat) fids() uses { return share(m.Dir) }

func (m *unlinkat) run(r *request) (message, error) {
	if err := checkName("remove", m.Name); err != nil {
		return nil, err
	}
	if m.Flags&^atRemoveDir != 0 {
		return nil, bad("remove", "flags %#x", m.Flags)
	}
	dir := r.fid[0].place.file
	err := dir.Remove(r.ctx, m.Name, m.Flags != 0)
	if api.KindOf(err) == api.NotDir && r.isHidden(dir, m.Name) {
		err = &numbered{err: api.E(api.Denied, "remove", m.Name, "it is the way to another server; remove the link with sigmactl rm"), errno: syscall.EBUSY}
	}
	return &empty{}, err
}

func (r *request) isHidden(dir tree.File, name string) bool {
	f, err := dir.Walk(r.ctx, name)
	if err != nil {
		return false
	}
	defer forget(f)
	a, err := f.Attr(r.ctx)
	return err == nil && r.hidden(a)
}
