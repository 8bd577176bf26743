package ninep

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func flagsOf(m tree.OpenMode) (flags uint32) {
	switch {
	case m.Read && m.Write:
		flags = oReadWrite
	case m.Write:
		flags = oWriteOnly
	}
	if m.Append {
		flags |= oAppend
	}
	if m.Truncate {
		flags |= oTruncate
	}
	return flags
}

func (f *Fid) plainOpen(ctx context.Context, m tree.OpenMode, names []string) (*Handle, Walked, error) {
	g, w, err := f.plainWalk(ctx, names)
	if err != nil || w.Link {
		return nil, w, err
	}
	if t := w.Attr.Mode & tree.ModeType; t != tree.ModeFile {
		g.Forget()
		if w.Link = isLink(w.Attr); !w.Link {
			err = api.E(api.IsDir, "open", "", "it is a directory")
		}
		return nil, w, err
	}
	if !m.Read && !m.Write {
		g.Forget()
		return nil, w, bad("open", "for neither reading nor writing")
	}
	var o opened
	if err := f.c.do(ctx, "open", tLopen, &lopen{Fid: g.num, Flags: flagsOf(m)}, &o); err != nil {
		g.Forget()
		return nil, w, err
	}
	return f.c.handleOn(g, m, o.Iounit, nil), w, nil
}

func (f *Fid) plainCreateOpen(ctx context.Context, n tree.NewFile, m tree.OpenMode, names []string) (*Handle, Walked, error) {
	if n.Lease != "" || n.Published {
		return nil, Walked{}, f.c.needSigma("create")
	}
	if !n.Exclusive {
		h, w, err := f.plainOpen(ctx, m, names)
		if api.KindOf(err) != api.NotFound {
			return h, w, err
		}
	}
	p, last, w, err := f.plainParent(ctx, "create", names)
	if err != nil || w.Link {
		return nil, w, err
	}
	flags := flagsOf(m)
	if n.Exclusive {
		flags |= oExclusive
	}
	var o opened // from here on p is the new file
	msg := &lcreate{Fid: p.num, Name: last, Flags: flags | oCreate, Mode: n.Mode & tree.ModePerm}
	if err := f.c.do(ctx, "create", tLcreate, msg, &o); err != nil {
		p.Forget()
		return nil, Walked{}, err
	}
	a, err := p.plainAttr(ctx)
	if err != nil {
		p.Forget()
		return nil, Walked{}, err
	}
	return f.c.handleOn(p, m, o.Iounit, nil), Walked{Names: len(names), Attr: a}, nil
}

// plainPut is no single step: a reader may see a part.
func (f *Fid) plainPut(ctx context.Context, p tree.Put, names []string) (Walked, error) {
	if p.If != nil || p.NoReplay != "" {
		return Walked{}, f.c.needSigma("put")
	}
	if t := p.Mode & tree.ModeType; t != tree.ModeFile && t != 0 {
		return Walked{}, bad("put", "only files are put")
	}
	m := tree.OpenMode{Write: true, Append: p.Append, Truncate: !p.Append}
	var h *Handle
	var w Walked
	var err error
	if p.Create {
		h, w, err = f.plainCreateOpen(ctx, p.NewFile, m, names)
	} else {
		h, w, err = f.plainOpen(ctx, m, names)
	}
	if err != nil || w.Link {
		return w, err
	}
	if _, err := h.WriteAt(ctx, p.Data, 0); err != nil {
		h.fid.Forget()
		return Walked{}, err
	}
	w.Attr, err = h.Attr(ctx)
	return w, first(err, h.Close())
}
