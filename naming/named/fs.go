package named

import (
	"context"
	"unicode/utf8"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// realmFS is a realm's tree in one term.
type realmFS struct{ term *term }

var (
	_ Tree             = (*realmFS)(nil)
	_ tree.File        = (*file)(nil)
	_ tree.Getter      = (*file)(nil)
	_ tree.EntryGetter = (*file)(nil)
	_ tree.Lister      = (*file)(nil)
	_ tree.Spacer      = (*file)(nil)
	_ tree.Handle      = (*handle)(nil)
	_ tree.Attrs       = (*handle)(nil)
)

// admit refuses callers of other realms, for whom this one does not exist.
func (t *term) admit(r *req) error {
	switch {
	case r.c.Realm != t.realm && !(r.c.Operator && r.c.Realm == ""):
		return noRealm(t.realm)
	case !validUser(r.c.User) || len(r.c.Proc) > maxProc || !utf8.ValidString(string(r.c.Proc)):
		return r.err(api.Invalid, "", "a caller of user %q and proc %q", show(r.c.User), show(string(r.c.Proc)))
	}
	return nil
}

func validUser(u string) bool { return len(u) <= maxUser && utf8.ValidString(u) }

// Ended implements Tree.
func (fs *realmFS) Ended() <-chan struct{} { return fs.term.ended }

// Attach implements tree.FS.
func (fs *realmFS) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	f := &file{term: fs.term, c: &c, path: "/", id: rootID}
	if fence != nil {
		f.fence = &tree.Fence{Path: fence.Path, Epoch: fence.Epoch}
	}
	r := f.req("attach")
	if err := fs.term.admit(r); err != nil {
		return nil, err
	}
	steps, err := r.split(aname)
	if err != nil {
		return nil, err
	}
	if f.fence != nil {
		if _, err := r.split(f.fence.Path); err != nil {
			return nil, err
		}
	}
	err = fs.term.read(ctx, func(st *state) error {
		for _, name := range steps {
			if err := f.step(r, st, name); err != nil {
				return err
			}
			r.path = f.path
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// file is a tree.File: a place in the tree by its number, which is never given
// to another file. The path is the one it was reached by, for error texts.
type file struct {
	term  *term
	c     *api.Caller
	fence *tree.Fence
	path  string
	id    uint64
}

func (f *file) req(op string) *req { return &req{c: f.c, op: op, path: f.path, fence: f.fence} }

// at is another place for the same caller.
func (f *file) at(name string, id uint64) *file {
	return &file{term: f.term, c: f.c, fence: f.fence, path: join(f.path, name), id: id}
}

// step goes to an entry.
func (f *file) step(r *req, st *state, name string) error {
	n, err := f.node(r, st)
	if err != nil {
		return err
	}
	if !n.isDir() {
		return r.err(api.NotDir, "", "it is no directory")
	}
	if err := r.allow(&n.inode, "", tree.MaySearch); err != nil {
		return err
	}
	k := n.kid(name)
	if k == nil {
		return r.err(api.NotFound, name, "no such file or directory")
	}
	f.id, f.path = k.ID, join(f.path, name)
	return nil
}

func (f *file) node(r *req, st *state) (*node, error) {
	if n := st.nodes[f.id]; n != nil {
		return n, nil
	}
	return nil, r.err(api.NotFound, "", "it was removed")
}
