package named

import (
	"sigmaos/api"
	"sigmaos/naming/tree"
)

// may says whether the mode bits allow want. The last three bits mean nothing:
// there is nobody who is not of the realm.
func (r *req) may(in *inode, want uint32) bool {
	return tree.Attr{Mode: in.Mode, Owner: in.Owner}.Allows(*r.c, want)
}

// allow is may with an error.
func (r *req) allow(in *inode, name string, want uint32) error {
	if r.may(in, want) {
		return nil
	}
	verb := map[uint32]string{tree.MayRead: "read", tree.MayWrite: "write", tree.MaySearch: "enter"}[want]
	return r.err(api.Denied, name, "user %q may not %s it (mode %04o, owner %q)", show(r.c.User), verb, in.Mode&tree.ModePerm, in.Owner)
}

// owns is for what only the owner may do.
func (r *req) owns(in *inode, what string) error {
	if r.c.Operator || r.c.User == in.Owner {
		return nil
	}
	return r.err(api.Denied, "", "only its owner %q may %s", in.Owner, what)
}

// holds reports whether the caller may act for a lease: its proc, an operator,
// or a program outside that the same user runs. Another proc of the user may
// not.
func (r *req) holds(l *leaseRecord) bool {
	return r.c.Operator || r.c.User == l.user && (r.c.Proc == l.proc || r.c.Proc == "")
}

// keep refuses to let anybody but the holder of its lease change an ephemeral
// file, whatever its mode says: it is how a proc shows that it is there.
func (s *stage) keep(r *req, in *inode, name string) error {
	if in.Lease == "" {
		return nil
	}
	if l := s.lease(in.Lease); l != nil && !r.holds(l) {
		return r.err(api.Denied, name, "it belongs to the lease of another proc")
	}
	return nil
}

// guard refuses changes of what is the system's: entry name of dir, or with
// name "" the file dir itself.
func (s *stage) guard(r *req, dir *inode, name string) error {
	if r.c.Operator {
		return nil
	}
	top := name
	for at := dir; at.ID != rootID; {
		top = at.Name
		if at = s.get(at.Parent); at == nil {
			return r.err(api.NotFound, "", "it was removed")
		}
	}
	if top == "" {
		return r.err(api.Denied, "", "the root belongs to the system; only an operator changes it")
	}
	if reserved[top] {
		return r.err(api.Denied, name, "/%s belongs to the system; only an operator changes it", top)
	}
	return nil
}

// depth is the number of directories from the root to a directory, itself
// included.
func (s *stage) depth(dir *inode) int {
	n := 1
	for ; dir != nil && dir.ID != rootID; dir = s.get(dir.Parent) {
		n++
	}
	return n
}

// dir is a directory whose entries are about to change.
func (s *stage) dir(r *req, id uint64, name string) (*inode, error) {
	if err := s.checkFence(r); err != nil {
		return nil, err
	}
	d, err := s.within(r, id)
	if err != nil {
		return nil, err
	}
	if err := r.allow(d, "", tree.MayWrite); err != nil {
		return nil, err
	}
	return d, s.guard(r, d, name)
}

// checkFence refuses the writes of a term that is over: the election's file
// must be there, made at the fence's epoch.
func (s *stage) checkFence(r *req) error {
	if r.fence == nil {
		return nil
	}
	steps, err := r.split(r.fence.Path)
	if err != nil {
		return err
	}
	at := s.get(rootID)
	for _, name := range steps {
		if at = s.child(at.ID, name); at == nil {
			break
		}
	}
	if at == nil || at.ID == rootID || at.Created != r.fence.Epoch {
		return r.err(api.Conflict, "", "the term %d of the election %s is over", r.fence.Epoch, show(r.fence.Path))
	}
	return nil
}
