package ninep

import (
	"context"
	"os"
	"strconv"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// What a Client does with a server of the plain dialect: the same operations, in
// several round trips, not in one step, and without what the dialect has not.

func (c *Client) plainAttach(ctx context.Context, aname string, fence *tree.Fence) (*Fid, tree.Attr, error) {
	if fence != nil {
		return nil, tree.Attr{}, c.needSigma("fence")
	}
	f, err := c.making(ctx, "attach", tAttach, func(num uint32) message {
		return &attach{Fid: num, Afid: noFid, Aname: aname, UID: uint32(os.Getuid())}
	}, &rqid{})
	if err != nil {
		return nil, tree.Attr{}, err
	}
	a, err := f.plainAttr(ctx)
	if err != nil {
		f.Forget()
		return nil, a, err
	}
	return f, a, nil
}

func (f *Fid) plainAttr(ctx context.Context) (tree.Attr, error) {
	var g rgetattr
	if err := f.c.do(ctx, "stat", tGetattr, &getattr{Fid: f.num, Mask: validBasic}, &g); err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{
		ID: g.Qid.Path, Version: g.DataVersion, Mode: g.Mode & (tree.ModeType | tree.ModePerm), Size: int64(g.Size),
		Links: uint32(g.Links), Modified: time.Unix(int64(g.Mtime.Sec), int64(g.Mtime.Nsec)), Owner: strconv.Itoa(int(g.UID)),
	}
	if g.Valid&validDataVersion == 0 {
		a.Version = uint64(g.Qid.Version)
	}
	if a.Mode&tree.ModeType != tree.ModeSymlink {
		return a, nil
	}
	var l rreadlink
	err := f.c.do(ctx, "readlink", tReadlink, &onFid{f.num}, &l)
	a.Target = l.Target
	return a, err
}

// plainStep walks along names as far as they go in one message; k tells how far.
func (f *Fid) plainStep(ctx context.Context, names []string) (g *Fid, k int, err error) {
	names = names[:min(len(names), maxPlainWalk)]
	var w rwalk
	g, err = f.c.making(ctx, "walk", tWalk, func(num uint32) message { return &walk{Fid: f.num, NewFid: num, Names: names} }, &w)
	if err != nil {
		return nil, 0, err
	}
	if len(w.Qids) < len(names) { // the server made none
		f.c.freeFid(g.num)
		if len(w.Qids) == 0 {
			return nil, 0, api.E(api.NotFound, "walk", names[0], "there is no such file")
		}
		return f.plainStep(ctx, names[:len(w.Qids)])
	}
	return g, len(names), nil
}

func (f *Fid) plainWalk(ctx context.Context, names []string) (*Fid, Walked, error) {
	for _, name := range names {
		if err := checkName("walk", name); err != nil {
			return nil, Walked{}, err
		}
	}
	at, done := f, 0
	for {
		g, k, err := at.plainStep(ctx, names[done:])
		if err != nil {
			w := Walked{Names: done}
			if kind := api.KindOf(err); kind == api.NotDir || kind == api.NotFound || kind == api.Loop {
				if a, err2 := at.plainAttr(ctx); err2 == nil && isLink(a) {
					w.Attr, w.Link, err = a, true, nil
				}
			}
			if at != f {
				at.Forget()
			}
			return nil, w, err
		}
		if at != f {
			at.Forget()
		}
		at = g
		if done += k; done == len(names) {
			a, err := at.plainAttr(ctx)
			if err != nil {
				at.Forget()
				return nil, Walked{}, err
			}
			return at, Walked{Names: done, Attr: a}, nil
		}
	}
}

func (f *Fid) plainStat(ctx context.Context, names []string) (Walked, error) {
	if len(names) == 0 {
		a, err := f.plainAttr(ctx)
		return Walked{Attr: a}, err
	}
	g, w, err := f.plainWalk(ctx, names)
	if g != nil {
		g.Forget()
	}
	return w, err
}

func (f *Fid) plainSetAttr(ctx context.Context, s tree.SetAttr, names []string) (Walked, error) {
	if s.Owner != nil {
		return Walked{}, f.c.needSigma("chown")
	}
	g := f
	if len(names) > 0 {
		var w Walked
		var err error
		if g, w, err = f.plainWalk(ctx, names); err != nil || w.Link {
			return w, err
		}
		defer g.Forget()
	}
	m := &setattr{Fid: g.num}
	if s.Perm != nil {
		m.Valid, m.Mode = m.Valid|setMode, *s.Perm
	}
	if s.Size != nil {
		if *s.Size < 0 {
			return Walked{}, bad("truncate", "a size below zero")
		}
		m.Valid, m.Size = m.Valid|setSize, uint64(*s.Size)
	}
	if t := s.Modified; t != nil {
		m.Valid |= setMtime | setMtimeSet
		m.Mtime = stamp{Sec: uint64(t.Unix()), Nsec: uint64(t.Nanosecond())}
	}
	if err := f.c.do(ctx, "setattr", tSetattr, m, &empty{}); err != nil {
		return Walked{}, err
	}
	a, err := g.plainAttr(ctx)
	return Walked{Names: len(names), Attr: a}, err
}
