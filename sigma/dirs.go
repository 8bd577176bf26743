package sigma

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"slices"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
)

// Mkdir makes a directory.
func (n *Names) Mkdir(ctx context.Context, path string, perm fs.FileMode) error {
	return n.make(ctx, path, tree.NewFile{Mode: tree.ModeDir | uint32(perm.Perm()), Exclusive: true})
}

// MkdirAll makes a directory and those above it that are not there. Mostly these
// are: it begins with the last, and is one round trip then.
func (n *Names) MkdirAll(ctx context.Context, path string, perm fs.FileMode) error {
	names, _, err := resolve.Clean(path)
	if err != nil {
		return err
	}
	return n.mkdirAll(ctx, names, perm)
}

func (n *Names) mkdirAll(ctx context.Context, names []string, perm fs.FileMode) error {
	if len(names) == 0 {
		return nil
	}
	p := resolve.Join(names)
	err := n.Mkdir(ctx, p, perm)
	if api.KindOf(err) == api.NotFound && len(names) > 1 {
		if err := n.mkdirAll(ctx, names[:len(names)-1], perm); err != nil {
			return err
		}
		err = n.Mkdir(ctx, p, perm)
	}
	if err == nil || api.KindOf(err) == api.Exists {
		return nil
	}
	if i, serr := n.Stat(ctx, p+"/"); serr != nil || !i.IsDir() {
		return err
	}
	return nil
}

// Symlink makes a symbolic link to target, a path of the realm.
func (n *Names) Symlink(ctx context.Context, target, path string) error {
	return n.make(ctx, path, tree.NewFile{Mode: tree.ModeSymlink | 0o777, Exclusive: true, Target: target})
}

// ReadLink returns where a symbolic link leads, or the endpoint of an endpoint
// link.
func (n *Names) ReadLink(ctx context.Context, path string) (string, error) {
	i, err := n.Lstat(ctx, path)
	if err == nil && i.Target == "" {
		err = api.E(api.Invalid, "readlink", path, "it is no link")
	}
	return i.Target, err
}

func (n *Names) make(ctx context.Context, path string, f tree.NewFile) error {
	_, err := n.create(ctx, path, f)
	return err
}

// create is make that says what was made.
func (n *Names) create(ctx context.Context, path string, f tree.NewFile) (made tree.Attr, err error) {
	err = n.do(ctx, path, false, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		if len(names) == 0 {
			return ninep.Walked{}, api.E(api.Exists, "create", path, "this is where a server begins")
		}
		fid, w, err := s.Root.Create(ctx, f, names...)
		if fid != nil {
			fid.Forget()
		}
		made = w.Attr
		return w, err
	})
	return made, err
}

// ReadDir returns up to max entries of a directory in order, behind the name
// after; fewer only at the end. max 0 is all.
func (n *Names) ReadDir(ctx context.Context, path, after string, max int) (out []Info, err error) {
	for {
		var end bool
		var page []Info
		err = n.do(ctx, path, true, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
			page = page[:0]
			want := 0
			if max > 0 {
				want = max - len(out)
			}
			list, w, last, err := s.Root.ReadDir(ctx, after, want, true, names...)
			for _, e := range list {
				a := tree.Attr{ID: e.ID, Mode: e.Mode}
				if e.Attr != nil {
					a = *e.Attr
				}
				page = append(page, Info{e.Name, a})
			}
			end = last
			return w, err
		})
		if err != nil {
			return out, err
		}
		out = append(out, page...)
		if end || len(page) == 0 || max > 0 && len(out) >= max {
			return out, nil
		}
		after = page[len(page)-1].name
	}
}

// Remove takes away a file, a link or an empty directory. A name that this program
// published (Publish) is kept no longer; where Remove fails, the name is as it was.
func (n *Names) Remove(ctx context.Context, path string) error {
	err := n.unlink(ctx, path)
	if api.KindOf(err) != api.IsDir {
		return err
	}
	done := n.published.goingBelow(path)
	err = n.remove(ctx, path, true)
	done(err == nil)
	return err
}

// unlink is remove for what may be a name that is kept.
func (n *Names) unlink(ctx context.Context, path string) error {
	done := n.published.going(path)
	err := n.remove(ctx, path, false)
	done(unlessGone(err) == nil)
	return err
}

func (n *Names) remove(ctx context.Context, path string, dir bool) error {
	return n.do(ctx, path, false, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		if len(names) == 0 {
			return ninep.Walked{}, api.E(api.Invalid, "remove", path, "the root of a server cannot be removed")
		}
		return s.Root.Remove(ctx, dir, names...)
	})
}

// RemoveAll takes away what is at path and everything below it. Links are
// removed, not followed. Names that this program published there (Publish) are kept
// no longer.
func (n *Names) RemoveAll(ctx context.Context, path string) error {
	done, doneBelow := n.published.going(path), n.published.goingBelow(path)
	wasLink, err := n.removeAll(ctx, path)
	done(err == nil)
	doneBelow(err == nil && !wasLink)
	return err
}

// removeAll says whether it was no directory: what was published by way of a symbolic
// link is still there.
func (n *Names) removeAll(ctx context.Context, path string) (wasLink bool, err error) {
	i, err := n.Lstat(ctx, path)
	if err != nil {
		return false, unlessGone(err)
	}
	if !i.IsDir() {
		return true, unlessGone(n.remove(ctx, path, false))
	}
	return false, n.removeTree(ctx, path)
}

func (n *Names) removeTree(ctx context.Context, path string) error {
	// Somebody may still be writing there: what came meanwhile goes too.
	for end := time.Now().Add(removeFor); ; {
		list, err := n.ReadDir(ctx, path, "", 1000)
		if err == nil {
			err = n.removeEach(ctx, path, list)
		}
		if err == nil && len(list) < 1000 {
			err = n.remove(ctx, path, true)
			if api.KindOf(err) == api.NotEmpty && time.Now().Before(end) {
				continue
			}
			return unlessGone(err)
		}
		if err != nil {
			return unlessGone(err)
		}
	}
}

// removeFor is how long RemoveAll goes on against somebody who adds entries.
const removeFor = 5 * time.Second

// unlessGone is the error of a removal: that it is not there is none.
func unlessGone(err error) error {
	if api.KindOf(err) == api.NotFound {
		return nil
	}
	return err
}

// removeEach removes entries several at a time: a server writes what comes
// together in one step.
func (n *Names) removeEach(ctx context.Context, dir string, list []Info) error {
	const atOnce = 32
	var wg sync.WaitGroup
	errs := make([]error, atOnce)
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < len(list) && errs[w] == nil; i += atOnce {
				p := dir + "/" + list[i].name
				if list[i].IsDir() {
					errs[w] = n.RemoveAll(ctx, p)
				} else {
					errs[w] = unlessGone(n.unlink(ctx, p))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Rename moves what is at from to to, over what is there, in one step. Both
// must be of one server.
func (n *Names) Rename(ctx context.Context, from, to string) error {
	done := n.published.going(from)
	err := n.rename(ctx, from, to)
	done(err == nil)
	return err
}

func (n *Names) rename(ctx context.Context, from, to string) error {
	if done, err := n.renameInRoot(ctx, from, to); done || err != nil {
		return err
	}
	fs, fn, err := n.place(ctx, "rename", from)
	if err != nil {
		return err
	}
	ts, tn, err := n.place(ctx, "rename", to)
	if err != nil {
		return err
	}
	if fs != ts {
		return api.E(api.Unsupported, "rename", from, "%s is on another server; copy it and remove the original (sigmactl cp -r, rm -r)", to)
	}
	w, _, err := fs.Root.Rename(ctx, fn, fs.Root, tn)
	if err == nil && w.Link {
		err = api.E(api.Conflict, "rename", from, "a link came into the way meanwhile; try again")
	}
	return err
}

// renameInRoot is Rename in one round trip, where the server of both is the realm's
// root. It does nothing when a link is on one of the ways.
func (n *Names) renameInRoot(ctx context.Context, from, to string) (done bool, err error) {
	fn, _, err := resolve.Clean(from)
	if err != nil {
		return false, err
	}
	tn, _, err := resolve.Clean(to)
	if err != nil || !inRoot(fn) || !inRoot(tn) {
		return false, err
	}
	err = n.do(ctx, from, false, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		w, _, err := s.Root.Rename(ctx, names, s.Root, tn)
		done = err == nil && !w.Link
		return ninep.Walked{}, err
	})
	return done, err
}

// inRoot reports whether a path may be one of the root's server.
func inRoot(names []string) bool {
	return len(names) > 0 && !slices.Contains(names, resolve.Local) && !slices.Contains(names, resolve.Any)
}

// place finds the server of a path and the names there; the last need not exist.
func (n *Names) place(ctx context.Context, op, path string) (at *server, out []string, err error) {
	err = n.do(ctx, path, true, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		if len(names) == 0 {
			return ninep.Walked{}, api.E(api.Invalid, op, path, "this is where a server begins")
		}
		at, out = s, names
		if len(names) == 1 {
			return ninep.Walked{}, nil
		}
		w, err := s.Root.Stat(ctx, names[:len(names)-1]...)
		if err == nil && !w.Link && w.Attr.Mode&tree.ModeType != tree.ModeDir {
			if w.Attr.Mode&tree.ModeType != tree.ModeFile {
				w.Link, w.Names = true, len(names)-1
			} else {
				err = api.E(api.NotDir, op, path, "a step of the path is no directory")
			}
		}
		return w, err
	})
	return at, out, err
}

// Chmod changes the permission bits of what Stat describes: a symbolic link is
// followed, an endpoint link only by a path that ends with a slash.
func (n *Names) Chmod(ctx context.Context, path string, perm fs.FileMode) error {
	follow, err := followed(path)
	if err != nil {
		return err
	}
	p := uint32(perm.Perm())
	return n.setAttr(ctx, path, tree.SetAttr{Perm: &p}, follow)
}

// Truncate changes the size of a file; links are followed.
func (n *Names) Truncate(ctx context.Context, path string, size int64) error {
	return n.setAttr(ctx, path, tree.SetAttr{Size: &size}, func(a tree.Attr) bool {
		return a.Mode&tree.ModeType == tree.ModeSymlink || a.Mode&tree.ModeType == tree.ModeEndpoint
	})
}

// setAttr changes what a path leads to. It walks there first, so that it is the
// file that was seen to be no link that is changed, whatever has its name by then.
func (n *Names) setAttr(ctx context.Context, path string, a tree.SetAttr, follow func(tree.Attr) bool) error {
	return n.do(ctx, path, true, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		if len(names) == 0 {
			return s.Root.SetAttr(ctx, a)
		}
		fid, w, err := s.Root.Walk(ctx, names...)
		if err != nil || w.Link {
			return w, err
		}
		defer fid.Forget()
		if follow(w.Attr) {
			w.Link, w.Names = true, len(names)
			return w, nil
		}
		return fid.SetAttr(ctx, a)
	})
}

// AbsPath replaces ~local and ~any by the names of the servers that they stand
// for, so that another proc may use the path.
func (n *Names) AbsPath(ctx context.Context, path string) (string, error) { return n.r.Abs(ctx, path) }

// Publish makes path an endpoint link: whoever walks through it lands at the
// server that listens on ep, or gets its endpoint to dial. What was there is
// replaced. With a lease it goes with that, "" is for ever.
func (n *Names) Publish(ctx context.Context, path string, ep Endpoint, lease string) error {
	return n.link(ctx, path, tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Exclusive: true, Target: string(ep), Lease: lease})
}

// link makes a link in one step, in the place of another.
func (n *Names) link(ctx context.Context, path string, f tree.NewFile) error {
	err := n.make(ctx, path, f)
	if api.KindOf(err) != api.Exists {
		return err
	}
	aside := path + ".new-" + rand.Text()[:8]
	if err := n.make(ctx, aside, f); err != nil {
		return err
	}
	if err := n.Rename(ctx, aside, path); err != nil {
		n.remove(context.WithoutCancel(ctx), aside, false)
		return err
	}
	return nil
}

// PublishExternal makes path lead to a service outside, host:port; procs dial it
// by the path (DialPath). Only an operator may.
func (n *Names) PublishExternal(ctx context.Context, path, address string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return api.E(api.Invalid, "publish", path, "the address %q is not HOST:PORT", address)
	}
	return n.link(ctx, path, tree.NewFile{Mode: tree.ModeEndpoint | 0o444, Exclusive: true, Published: true, Target: address})
}
