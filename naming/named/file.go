package named

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Attr implements tree.File.
func (f *file) Attr(ctx context.Context) (a tree.Attr, err error) {
	r := f.req("stat")
	err = f.term.read(ctx, func(st *state) error {
		n, err := f.node(r, st)
		if err == nil {
			a = n.attr()
		}
		return err
	})
	if err != nil {
		return tree.Attr{}, err
	}
	return a, nil
}

// Walk implements tree.File.
func (f *file) Walk(ctx context.Context, name string) (tree.File, error) {
	r := f.req("walk")
	if err := r.checkName(name); err != nil {
		return nil, err
	}
	to := f.at(name, f.id)
	to.path = f.path
	if err := f.term.read(ctx, func(st *state) error { return to.step(r, st, name) }); err != nil {
		return nil, err
	}
	return to, nil
}

// ReadDir implements tree.File.
func (f *file) ReadDir(ctx context.Context, after string, max int) (out []tree.Dirent, err error) {
	err = f.list(ctx, max, func(n *node, _ bool) {
		out = make([]tree.Dirent, 0, min(max, n.len()))
		n.page(after, max, func(k *node, name string) { out = append(out, direntOf(k, name)) })
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// List implements tree.Lister: a page and what its entries are, at one version.
func (f *file) List(ctx context.Context, after string, max int) (out []tree.Dirent, attrs []tree.Attr, err error) {
	err = f.list(ctx, max, func(n *node, search bool) {
		room := min(max, n.len())
		out = make([]tree.Dirent, 0, room)
		if search {
			attrs = make([]tree.Attr, 0, room)
		}
		n.page(after, max, func(k *node, name string) {
			out = append(out, direntOf(k, name))
			if search {
				attrs = append(attrs, k.attr())
			}
		})
	})
	if err != nil {
		return nil, nil, err
	}
	return out, attrs, nil
}

// list calls fn with a directory that the caller may read; search says that it may
// look at the entries too.
func (f *file) list(ctx context.Context, max int, fn func(n *node, search bool)) error {
	r := f.req("list")
	if max < 1 || max > tree.MaxPage {
		return r.err(api.Invalid, "", "a page of %d entries; 1 to %d", max, tree.MaxPage)
	}
	return f.term.read(ctx, func(st *state) error {
		n, err := f.node(r, st)
		if err != nil {
			return err
		}
		if !n.isDir() {
			return r.err(api.NotDir, "", "it is no directory")
		}
		if err := r.allow(&n.inode, "", tree.MayRead); err != nil {
			return err
		}
		fn(n, r.allow(&n.inode, "", tree.MaySearch) == nil)
		return nil
	})
}

func direntOf(n *node, name string) tree.Dirent {
	return tree.Dirent{Name: name, ID: n.ID, Mode: n.Mode}
}

// page calls fn with up to max entries behind the name after.
func (n *node) page(after string, max int, fn func(k *node, name string)) {
	if n.kids == nil {
		return
	}
	count := 0
	n.kids.AscendGreaterOrEqual(entry{name: after}, func(e entry) bool {
		if e.name != after {
			fn(e.n, e.name)
			count++
		}
		return count < max
	})
}

// Create implements tree.File.
func (f *file) Create(ctx context.Context, name string, n tree.NewFile) (tree.File, error) {
	r := f.req("create")
	if err := r.checkNew(name, &n); err != nil {
		return nil, err
	}
	var id uint64
	err := f.term.do(ctx, &change{
		req: r,
		fn: func(s *stage) error {
			in, err := s.create(r, f.id, name, &n)
			if err == nil {
				id = in.ID
			}
			return err
		},
		weigh: func(*stage) (int, int) { return opKeys, 512 + len(n.Target) },
	})
	if err != nil {
		return nil, err
	}
	return f.at(name, id), nil
}

// Put implements tree.File.
func (f *file) Put(ctx context.Context, name string, p tree.Put) (a tree.Attr, err error) {
	r := f.req("put")
	if err := r.checkPutNew(name, &p); err != nil {
		return a, err
	}
	if int64(len(p.Data)) > f.term.limits.FileSize {
		return a, r.sizeError(name, int64(len(p.Data)), f.term.limits.FileSize)
	}
	err = f.term.do(ctx, &change{
		req: r,
		fn: func(s *stage) (err error) {
			a, err = s.put(r, f.id, name, &p)
			return err
		},
		weigh: func(s *stage) (int, int) {
			size := len(p.Data) + 512
			if p.Append {
				if old := s.child(f.id, name); old != nil {
					size += len(old.Data)
				}
			}
			return opKeys, size
		},
	})
	if err != nil {
		return tree.Attr{}, err // it may have been staged, but not be there
	}
	return a, nil
}

// checkPutNew is checkNew for a put, which may leave out what is only for new
// files when it makes none.
func (r *req) checkPutNew(name string, p *tree.Put) error {
	if len(p.NoReplay) > maxReplayID || !validUser(p.NoReplay) {
		return r.err(api.Invalid, name, "the id of a write is valid UTF-8 of at most %d bytes", maxReplayID)
	}
	if !p.Create {
		return r.checkName(name)
	}
	if p.Mode&tree.ModeType == 0 {
		p.Mode |= tree.ModeFile
	}
	if p.Mode&tree.ModeType != tree.ModeFile {
		return r.err(api.Invalid, name, "mode %#o: Put writes files", p.Mode)
	}
	return r.checkNew(name, &p.NewFile)
}

// Remove implements tree.File.
func (f *file) Remove(ctx context.Context, name string, dir bool) error {
	r := f.req("remove")
	if err := r.checkName(name); err != nil {
		return err
	}
	return f.term.do(ctx, &change{req: r, fn: func(s *stage) error { return s.remove(r, f.id, name, dir) }})
}

// Rename implements tree.File.
func (f *file) Rename(ctx context.Context, name string, to tree.File, newName string) error {
	r := f.req("rename")
	if err := r.checkName(name); err != nil {
		return err
	}
	if err := r.checkNewName(newName); err != nil {
		return err
	}
	dest, ok := to.(*file)
	if !ok || dest.term != f.term {
		return r.err(api.Invalid, name, "the other directory is on another server; copy it and remove it here")
	}
	return f.term.do(ctx, &change{
		req: r,
		fn:  func(s *stage) error { return s.rename(r, f.id, name, dest.id, newName) },
		weigh: func(s *stage) (int, int) {
			size := 512
			if in := s.child(f.id, name); in != nil {
				size += len(in.Data) + len(in.Target)
			}
			return opKeys, size
		},
	})
}

// SetAttr implements tree.File.
func (f *file) SetAttr(ctx context.Context, a tree.SetAttr) (tree.Attr, error) {
	return f.setAttr(ctx, a, (*stage).get)
}

// setAttr changes the file that find finds: SetAttr of a handle goes on when
// its file was removed.
func (f *file) setAttr(ctx context.Context, a tree.SetAttr, find func(*stage, uint64) *inode) (out tree.Attr, err error) {
	r := f.req("setattr")
	err = f.term.do(ctx, &change{
		req: r,
		fn: func(s *stage) error {
			if find(s, f.id) == nil {
				return r.err(api.NotFound, "", "it was removed")
			}
			in, err := s.setAttr(r, f.id, a)
			if err == nil {
				out = s.attr(in)
			}
			return err
		},
		weigh: func(s *stage) (int, int) { return opKeys, s.weight(f.id, a.Size) },
	})
	if err != nil {
		return tree.Attr{}, err
	}
	return out, nil
}

// weight bounds the bytes of a change of a file's content or attributes.
func (s *stage) weight(id uint64, size *int64) int {
	n := 512
	if in := s.opened(id); in != nil {
		n += len(in.Data) + len(in.Target)
	}
	if size != nil {
		n += int(min(max(*size, 0), maxFileSize))
	}
	return n
}

// attr is a staged file's attributes, with what only its node knows.
func (s *stage) attr(in *inode) tree.Attr {
	a := in.attr()
	if n := s.st.file(in.ID); n != nil {
		a.Links = n.attr().Links
	}
	return a
}

// Get implements tree.Getter. The bytes are the tree's own.
func (f *file) Get(ctx context.Context, max int) (a tree.Attr, data []byte, err error) {
	r := f.req("get")
	err = f.term.read(ctx, func(st *state) (err error) {
		a, data, err = f.content(r, st, max)
		return err
	})
	if err != nil {
		return tree.Attr{}, nil, err // what was read may be old
	}
	return a, data, nil
}

// GetEntry implements tree.EntryGetter.
func (f *file) GetEntry(ctx context.Context, name string, max int) (a tree.Attr, data []byte, err error) {
	r := f.req("get")
	if err := r.checkName(name); err != nil {
		return a, nil, err
	}
	at := f.at("", f.id)
	at.path = f.path
	err = f.term.read(ctx, func(st *state) (err error) {
		if err := at.step(r, st, name); err != nil {
			return err
		}
		r.path = at.path
		a, data, err = at.content(r, st, max)
		return err
	})
	if err != nil {
		return tree.Attr{}, nil, err
	}
	return a, data, nil
}

// content is a small file, whole.
func (f *file) content(r *req, st *state, max int) (a tree.Attr, data []byte, err error) {
	n, err := f.node(r, st)
	if err != nil {
		return a, nil, err
	}
	if err := mayBeOpened(r, &n.inode); err != nil {
		return a, nil, err
	}
	if err := r.allow(&n.inode, "", tree.MayRead); err != nil {
		return a, nil, err
	}
	if len(n.Data) <= max {
		data = n.Data
	}
	return n.attr(), data, nil
}

// Space implements tree.Spacer: what is left of the realm's quota.
func (f *file) Space(ctx context.Context) (out tree.Space, err error) {
	err = f.term.read(ctx, func(st *state) error {
		l := f.term.limits
		out = tree.Space{Bytes: l.Bytes, FreeBytes: max(0, l.Bytes-st.bytes), Files: l.Files, FreeFiles: max(0, l.Files-st.files)}
		return nil
	})
	return out, err
}
