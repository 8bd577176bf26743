package named

import (
	"sigmaos/api"
	"sigmaos/naming/tree"
)

// remove takes an entry away.
func (s *stage) remove(r *req, dirID uint64, name string, dir bool) error {
	if _, err := s.dir(r, dirID, name); err != nil {
		return err
	}
	in := s.child(dirID, name)
	switch {
	case in == nil:
		return r.err(api.NotFound, name, "no such file or directory")
	case dir && !in.isDir():
		return r.err(api.NotDir, name, "it is no directory")
	case !dir && in.isDir():
		return r.err(api.IsDir, name, "it is a directory")
	case s.len(in.ID) > 0:
		return r.err(api.NotEmpty, name, "the directory has %d entries", s.len(in.ID))
	}
	if err := s.keep(r, in, name); err != nil {
		return err
	}
	s.drop(in.ID)
	return nil
}

// rename moves an entry, over what is there.
func (s *stage) rename(r *req, dirID uint64, name string, toID uint64, newName string) error {
	if _, err := s.dir(r, dirID, name); err != nil {
		return err
	}
	to, err := s.dir(r, toID, newName)
	if err != nil {
		return err
	}
	in := s.child(dirID, name)
	if in == nil {
		return r.err(api.NotFound, name, "no such file or directory")
	}
	if err := s.keep(r, in, name); err != nil {
		return err
	}
	if in.isDir() && dirID != toID {
		if err := s.mayMove(r, in, name, to); err != nil {
			return err
		}
	}
	old := s.child(toID, newName)
	if old != nil && old.ID == in.ID {
		return nil
	}
	if err := s.mayReplace(r, in, old, newName); err != nil {
		return err
	}
	if old == nil {
		if err := s.charge(r, newName, 0, int64(len(newName)-len(name))); err != nil {
			return err
		}
	} else {
		s.drop(old.ID)
	}
	s.move(in.ID, toID, newName)
	return nil
}

// mayReplace checks that in may take the place of old.
func (s *stage) mayReplace(r *req, in, old *inode, name string) error {
	switch {
	case old == nil:
		return nil
	case old.isDir() && !in.isDir():
		return r.err(api.IsDir, name, "a file cannot take the place of a directory")
	case !old.isDir() && in.isDir():
		return r.err(api.NotDir, name, "a directory cannot take the place of a file")
	case s.len(old.ID) > 0:
		return r.err(api.NotEmpty, name, "the directory there has %d entries", s.len(old.ID))
	}
	return s.keep(r, old, name)
}

// mayMove checks that directory in may go into to: not below itself, and not
// so deep that something in it ends below the limit.
func (s *stage) mayMove(r *req, in *inode, name string, to *inode) error {
	for at := to; at != nil && at.ID != rootID; at = s.get(at.Parent) {
		if at.ID == in.ID {
			return r.err(api.Invalid, name, "a directory cannot go below itself")
		}
	}
	room := s.limits.Depth - s.depth(to)
	if s.depth(in)-1 < s.depth(to) && !s.fits(in.ID, room) {
		return r.err(api.TooLarge, name, "its directories would be more than %d deep", s.limits.Depth)
	}
	return nil
}

// fits reports whether a directory with all below it needs no more than room
// levels.
func (s *stage) fits(dir uint64, room int) bool {
	if room < 1 {
		return false
	}
	return s.subdirs(dir, func(d *inode) bool { return s.fits(d.ID, room-1) })
}

// setAttr changes attributes.
func (s *stage) setAttr(r *req, id uint64, a tree.SetAttr) (*inode, error) {
	if err := s.checkFence(r); err != nil {
		return nil, err
	}
	in := s.opened(id)
	if in == nil {
		return nil, r.err(api.NotFound, "", "it was removed")
	}
	if err := s.maySet(r, in, a); err != nil {
		return nil, err
	}
	if a.Size != nil {
		if _, err := s.setData(r, id, "", int(*a.Size), int(*a.Size), nil); err != nil {
			return nil, err
		}
		in = s.opened(id)
	}
	if a.Perm == nil && a.Owner == nil && a.Modified == nil {
		return in, nil
	}
	in = s.edit(id)
	if a.Perm != nil {
		in.Mode = in.Mode&tree.ModeType | *a.Perm&tree.ModePerm // set-uid and its like are dropped
	}
	if a.Owner != nil {
		in.Owner = *a.Owner
	}
	if a.Modified != nil {
		in.Modified = a.Modified.UnixNano()
	}
	if a.Size == nil { // else it has its new version already
		s.changed(in)
	}
	return in, nil
}

func (s *stage) maySet(r *req, in *inode, a tree.SetAttr) error {
	if !s.removed(in.ID) {
		if err := s.guard(r, in, ""); err != nil {
			return err
		}
		if err := s.keep(r, in, ""); err != nil {
			return err
		}
	}
	if a.Perm != nil {
		if err := r.owns(in, "change its mode"); err != nil {
			return err
		}
	}
	if a.Owner != nil && *a.Owner != in.Owner {
		if !r.c.Operator {
			return r.err(api.Denied, "", "only an operator gives a file to another user")
		}
		if !validUser(*a.Owner) {
			return r.err(api.Invalid, "", "no name of a user: %q", show(*a.Owner))
		}
	}
	if a.Modified != nil && (a.Modified.Year() < 1678 || a.Modified.Year() > 2261) {
		return r.err(api.Invalid, "", "a time in the year %d: 1678 to 2261 can be kept", a.Modified.Year())
	}
	if a.Modified != nil && !r.may(in, tree.MayWrite) {
		if err := r.owns(in, "change its time"); err != nil {
			return err
		}
	}
	if a.Size == nil {
		return nil
	}
	switch {
	case in.isDir():
		return r.err(api.IsDir, "", "it is a directory")
	case !in.isFile():
		return r.err(api.Invalid, "", "it is a link")
	case *a.Size < 0:
		return r.err(api.Invalid, "", "a size of %d", *a.Size)
	case *a.Size > s.limits.FileSize:
		return r.sizeError("", *a.Size, s.limits.FileSize)
	}
	return r.allow(in, "", tree.MayWrite)
}

// write changes a file through an open handle.
func (s *stage) write(r *req, id uint64, off int64, data []byte, behind bool) error {
	if err := s.checkFence(r); err != nil {
		return err
	}
	in := s.opened(id)
	if in == nil {
		return r.err(api.NotFound, "", "it was removed")
	}
	if behind {
		off = int64(len(in.Data))
	}
	if end := off + int64(len(data)); off > s.limits.FileSize || end > s.limits.FileSize {
		return r.sizeError("", max(off, end), s.limits.FileSize)
	}
	_, err := s.overwrite(r, in, int(off), data)
	return err
}

// overwrite is setData that keeps what lies behind the new bytes.
func (s *stage) overwrite(r *req, in *inode, off int, data []byte) (*inode, error) {
	if end := off + len(data); end < len(in.Data) {
		data = append(append(make([]byte, 0, len(in.Data)-off), data...), in.Data[end:]...)
	}
	return s.setData(r, in.ID, "", off, off, data)
}
