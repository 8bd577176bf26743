package named

import (
	"strings"
	"unicode/utf8"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// checkNew refuses what cannot be made, whatever is in the tree. n is the call's
// own.
func (r *req) checkNew(name string, n *tree.NewFile) error {
	if err := r.checkNewName(name); err != nil {
		return err
	}
	bad := func(format string, args ...any) error { return r.err(api.Invalid, name, format, args...) }
	n.Mode &= tree.ModeType | tree.ModePerm // set-uid and its like are dropped
	typ := n.Mode & tree.ModeType
	switch {
	case typ == tree.ModeFile || typ == tree.ModeDir:
		if n.Target != "" {
			return bad("a target is for links")
		}
	case typ != tree.ModeSymlink && typ != tree.ModeEndpoint:
		return bad("mode %#o: named keeps files, directories, symbolic links and endpoint links", n.Mode)
	case n.Target == "":
		return bad("a link without a target")
	case len(n.Target) > tree.MaxPath:
		return r.err(api.TooLarge, name, "a target of %d bytes; at most %d", len(n.Target), tree.MaxPath)
	case strings.IndexByte(n.Target, 0) >= 0 || !utf8.ValidString(n.Target):
		return bad("a target must be valid UTF-8 without NUL")
	}
	switch {
	case n.Published && typ != tree.ModeEndpoint:
		return bad("only an endpoint link can be published")
	case n.Published && !r.c.Operator:
		return r.err(api.Denied, name, "only an operator publishes services from outside")
	case n.Lease != "" && typ == tree.ModeDir:
		return bad("a directory cannot be ephemeral; make its files so")
	}
	return nil
}

// mayAdd is what is checked for a name that is free.
func (s *stage) mayAdd(r *req, dir *inode, name string, n *tree.NewFile, bytes int) error {
	if d := s.depth(dir); d > s.limits.Depth {
		return r.err(api.TooLarge, name, "%d directories deep; at most %d", d, s.limits.Depth)
	}
	if n.Lease != "" {
		l := s.lease(n.Lease)
		if l == nil || s.ending(n.Lease) || !r.holds(l) {
			return r.err(api.NotFound, name, "you have no lease %q (it may have run out)", show(n.Lease))
		}
	}
	return s.charge(r, name, 1, int64(len(name)+len(n.Target)+bytes))
}

func (s *stage) newInode(r *req, dir *inode, name string, n *tree.NewFile, data []byte) *inode {
	return s.add(inode{Parent: dir.ID, Name: name, Mode: n.Mode, Owner: r.c.User, Lease: n.Lease, Target: n.Target, Published: n.Published, Data: data})
}

// create makes an entry. Without Exclusive, a file or directory that is there
// is as good as a new one.
func (s *stage) create(r *req, dirID uint64, name string, n *tree.NewFile) (*inode, error) {
	if err := s.checkFence(r); err != nil {
		return nil, err
	}
	if _, err := s.within(r, dirID); err != nil {
		return nil, err
	}
	if old := s.child(dirID, name); old != nil {
		return old, checkCreate(r, name, n, old)
	}
	dir, err := s.dir(r, dirID, name)
	if err != nil {
		return nil, err
	}
	if err := s.mayAdd(r, dir, name, n, 0); err != nil {
		return nil, err
	}
	return s.newInode(r, dir, name, n, nil), nil
}

// checkCreate says whether what is there is what was to be made.
func checkCreate(r *req, name string, n *tree.NewFile, old *inode) error {
	typ, want := old.Mode&tree.ModeType, n.Mode&tree.ModeType
	switch {
	case n.Exclusive || typ == want && !old.isFile() && !old.isDir():
		return r.err(api.Exists, name, "there is one already")
	case typ == want:
		return nil
	case old.isDir():
		return r.err(api.IsDir, name, "it is a directory")
	case want == tree.ModeDir:
		return r.err(api.NotDir, name, "it is there and no directory")
	}
	return r.err(api.Exists, name, "there is one of another type")
}

// within is a directory in which the caller may look for entries.
func (s *stage) within(r *req, id uint64) (*inode, error) {
	dir := s.get(id)
	switch {
	case dir == nil:
		return nil, r.err(api.NotFound, "", "the directory was removed")
	case !dir.isDir():
		return nil, r.err(api.NotDir, "", "it is no directory")
	}
	return dir, r.allow(dir, "", tree.MaySearch)
}

// put writes a whole file, unless a put of the same id was done before: then it
// changes nothing and returns what that one did.
func (s *stage) put(r *req, dirID uint64, name string, p *tree.Put) (a tree.Attr, err error) {
	if err := s.checkFence(r); err != nil {
		return a, err
	}
	key := replayKey{user: r.c.User, id: p.NoReplay}
	if p.NoReplay != "" {
		if done := s.replayed(key); done != nil {
			return done.attr(), nil
		}
	}
	in, err := s.putFile(r, dirID, name, p)
	if err != nil {
		return a, err
	}
	if p.NoReplay != "" {
		s.replays = append(s.replays, replay{key: key, seq: s.st.replayNext + uint64(len(s.replays)), file: in.ID, version: in.Version, mode: in.Mode,
			size: int64(len(in.Data)), modified: in.Modified, owner: in.Owner, lease: in.Lease})
	}
	return in.attr(), nil
}

func (s *stage) replayed(key replayKey) *replay {
	for i := range s.replays {
		if s.replays[i].key == key {
			return &s.replays[i]
		}
	}
	if p, ok := s.st.replays[key]; ok {
		return &p
	}
	return nil
}

func (s *stage) putFile(r *req, dirID uint64, name string, p *tree.Put) (*inode, error) {
	if _, err := s.within(r, dirID); err != nil {
		return nil, err
	}
	old := s.child(dirID, name)
	if err := checkPut(r, name, p, old); err != nil {
		return nil, err
	}
	if old == nil {
		dir, err := s.dir(r, dirID, name)
		if err != nil {
			return nil, err
		}
		if err := s.mayAdd(r, dir, name, &p.NewFile, len(p.Data)); err != nil {
			return nil, err
		}
		return s.newInode(r, dir, name, &p.NewFile, append([]byte(nil), p.Data...)), nil
	}
	if err := s.mayWrite(r, old, name); err != nil {
		return nil, err
	}
	keep := 0
	if p.Append {
		keep = len(old.Data)
	}
	return s.setData(r, old.ID, name, keep, keep, p.Data)
}

// checkPut compares the conditions of a put with what is there.
func checkPut(r *req, name string, p *tree.Put, old *inode) error {
	switch {
	case old != nil && p.Exclusive:
		return r.err(api.Exists, name, "there is one already")
	case p.If != nil && *p.If == 0 && old != nil:
		return r.err(api.Conflict, name, "it is there, with version %d", old.Version)
	case p.If != nil && *p.If != 0 && old == nil:
		return r.err(api.Conflict, name, "it has not version %d: there is none", *p.If)
	case p.If != nil && old != nil && old.Version != *p.If:
		return r.err(api.Conflict, name, "it has version %d, not %d", old.Version, *p.If)
	case old == nil && !p.Create:
		return r.err(api.NotFound, name, "no such file")
	case old != nil && old.isDir():
		return r.err(api.IsDir, name, "it is a directory")
	case old != nil && !old.isFile():
		return r.err(api.Invalid, name, "it is a link; follow it first")
	}
	return nil
}

// mayWrite checks that the caller may change a file's content.
func (s *stage) mayWrite(r *req, in *inode, name string) error {
	if err := r.allow(in, name, tree.MayWrite); err != nil {
		return err
	}
	if err := s.guard(r, in, ""); err != nil {
		return err
	}
	return s.keep(r, in, name)
}

// setData makes a file's content its first keep bytes, zeros up to off, and
// data from there.
func (s *stage) setData(r *req, id uint64, name string, keep, off int, data []byte) (*inode, error) {
	old := s.opened(id)
	size := off + len(data)
	if int64(size) > s.limits.FileSize {
		return nil, r.sizeError(name, int64(size), s.limits.FileSize)
	}
	grow := int64(size - len(old.Data))
	if err := s.charge(r, name, 0, grow); err != nil {
		return nil, err
	}
	content := make([]byte, size)
	copy(content, old.Data[:min(keep, len(old.Data))])
	copy(content[off:], data)
	in := s.edit(id)
	in.Data, in.Modified = content, s.now
	if !s.removed(id) {
		s.bytes += grow
	}
	s.changed(in)
	return in, nil
}
