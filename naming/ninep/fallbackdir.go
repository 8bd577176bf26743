package ninep

import (
	"context"
	"slices"
	"strings"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// plainParent walks to the directory of the last name.
func (f *Fid) plainParent(ctx context.Context, op string, names []string) (dir *Fid, last string, w Walked, err error) {
	if len(names) == 0 {
		return nil, "", w, bad(op, "a name is needed")
	}
	last = names[len(names)-1]
	if err := checkName(op, last); err != nil {
		return nil, "", w, err
	}
	dir, w, err = f.plainWalk(ctx, names[:len(names)-1])
	if err == nil && !w.Link && isLink(w.Attr) {
		dir.Forget()
		w.Link = true
	}
	return dir, last, w, err
}

func (f *Fid) plainRemove(ctx context.Context, dir bool, names []string) (Walked, error) {
	p, last, w, err := f.plainParent(ctx, "remove", names)
	if err != nil || w.Link {
		return w, err
	}
	defer p.Forget()
	m := &unlinkat{Dir: p.num, Name: last}
	if dir {
		m.Flags = atRemoveDir
	}
	err = f.c.do(ctx, "remove", tUnlinkat, m, &empty{})
	if api.KindOf(err) == api.Unsupported { // an older server
		err = p.removeFid(ctx, last, dir)
	}
	return Walked{Names: len(names)}, err
}

func (f *Fid) removeFid(ctx context.Context, name string, dir bool) error {
	g, w, err := f.plainWalk(ctx, []string{name})
	if err != nil {
		return err
	}
	if dir != w.Attr.IsDir() {
		g.Forget()
		if dir {
			return api.E(api.NotDir, "remove", name, "it is no directory")
		}
		return api.E(api.IsDir, "remove", name, "it is a directory")
	}
	defer g.gone()
	return f.c.do(ctx, "remove", tRemove, &onFid{g.num}, &empty{})
}

func (f *Fid) plainRename(ctx context.Context, names []string, to *Fid, toNames []string) (Walked, bool, error) {
	from, last, w, err := f.plainParent(ctx, "rename", names)
	if err != nil || w.Link {
		return w, false, err
	}
	defer from.Forget()
	dst, newLast, w, err := to.plainParent(ctx, "rename", toNames)
	if err != nil || w.Link {
		return w, true, err
	}
	defer dst.Forget()
	m := &renameat{OldDir: from.num, OldName: last, NewDir: dst.num, NewName: newLast}
	err = f.c.do(ctx, "rename", tRenameat, m, &empty{})
	if api.KindOf(err) == api.Unsupported { // an older server
		g, _, err := from.plainWalk(ctx, []string{last})
		if err != nil {
			return Walked{}, false, err
		}
		defer g.Forget()
		err = f.c.do(ctx, "rename", tRename, &rename{Fid: g.num, Dir: dst.num, Name: newLast}, &empty{})
		return Walked{Names: len(names)}, false, err
	}
	return Walked{Names: len(names)}, false, err
}

func (f *Fid) plainCreate(ctx context.Context, n tree.NewFile, names []string) (*Fid, Walked, error) {
	if n.Mode&tree.ModeType == tree.ModeFile || n.Mode&tree.ModeType == 0 {
		h, w, err := f.plainCreateOpen(ctx, n, tree.OpenMode{Write: true}, names)
		if err != nil || w.Link {
			return nil, w, err
		}
		defer h.fid.Forget()
		return f.plainWalk(ctx, names)
	}
	p, last, w, err := f.plainParent(ctx, "create", names)
	if err != nil || w.Link {
		return nil, w, err
	}
	defer p.Forget()
	switch {
	case n.Lease != "" || n.Published:
		err = f.c.needSigma("create")
	case len(n.Target) > tree.MaxPath:
		err = api.E(api.TooLarge, "create", last, "a target of %d bytes", len(n.Target))
	case n.Mode&tree.ModeType == tree.ModeSymlink && (n.Target == "" || strings.ContainsRune(n.Target, 0)):
		err = bad("create", "a symbolic link to %q", n.Target)
	case n.Mode&tree.ModeType == tree.ModeDir:
		err = f.c.do(ctx, "create", tMkdir, &mkdir{Dir: p.num, Name: last, Mode: n.Mode & tree.ModePerm}, &rqid{})
	case n.Mode&tree.ModeType == tree.ModeSymlink:
		err = f.c.do(ctx, "create", tSymlink, &symlink{Dir: p.num, Name: last, Target: n.Target}, &rqid{})
	default:
		err = f.c.needSigma("create")
	}
	there := api.KindOf(err) == api.Exists && !n.Exclusive && n.Mode&tree.ModeType == tree.ModeDir
	if err != nil && !there {
		return nil, Walked{}, err
	}
	g, w, walkErr := f.plainWalk(ctx, names)
	if walkErr == nil && there && !w.Attr.IsDir() {
		g.Forget()
		return nil, w, err
	}
	return g, w, walkErr
}

// plainReadDir reads the whole directory, since the dialect knows no order, and
// gives the part that was asked for.
func (f *Fid) plainReadDir(ctx context.Context, after string, most int, attrs bool, names []string) ([]Entry, Walked, bool, error) {
	g, w, err := f.plainWalk(ctx, names)
	if err != nil || w.Link {
		return nil, w, false, err
	}
	defer g.Forget()
	if isLink(w.Attr) {
		w.Link = true
		return nil, w, false, nil
	}
	if err := f.c.do(ctx, "readdir", tLopen, &lopen{Fid: g.num, Flags: oDirectory}, &opened{}); err != nil {
		return nil, w, false, err
	}
	all, err := g.plainEntries(ctx)
	if err != nil {
		return nil, w, false, err
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	i, found := slices.BinarySearchFunc(all, after, func(e Entry, name string) int { return strings.Compare(e.Name, name) })
	if found {
		i++
	}
	if most <= 0 {
		most = tree.MaxPage
	}
	list := all[i:]
	end := len(list) < most
	list = list[:min(len(list), most)]
	for j := range list {
		if attrs {
			if w, err := f.plainStat(ctx, append(slices.Clone(names), list[j].Name)); err == nil {
				list[j].Attr = &w.Attr
			}
		}
	}
	return list, w, end, nil
}

const maxPlainDir = 1 << 20 // entries that a plain server may give

func (f *Fid) plainEntries(ctx context.Context) (all []Entry, err error) {
	for cookie := uint64(0); ; {
		n := 0
		err := f.c.do2(ctx, "readdir", tReaddir, &span{Fid: f.num, Offset: cookie, Count: uint32(f.c.msize - ioHead)}, &rdata{}, func(m message) error {
			c := coder{b: m.(*rdata).Data}
			for len(c.b) > 0 {
				var d dirent
				if d.code(&c); c.bad {
					return api.E(api.Unavailable, "readdir", "", "the server's entries make no sense")
				}
				n++
				if cookie = d.Offset; d.Name != "." && d.Name != ".." {
					all = append(all, Entry{Dirent: tree.Dirent{Name: d.Name, ID: d.Qid.Path, Mode: uint32(d.Type) << 12 & tree.ModeType}})
				}
			}
			return nil
		})
		if err != nil || n == 0 {
			return all, err
		}
		if len(all) > maxPlainDir {
			return nil, api.E(api.TooLarge, "readdir", "", "more than %d entries", maxPlainDir)
		}
	}
}
