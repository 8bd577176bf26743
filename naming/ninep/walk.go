package ninep

import (
	"errors"
	"syscall"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (m *auth) fids() uses { return uses{} }

// run: ENOENT is how clients are told that they need no authentication.
func (m *auth) run(*request) (message, error) {
	return nil, api.E(api.NotFound, "auth", "", "not needed: the connection says who asks")
}

func (m *attach) fids() uses { return uses{{m.Fid, makes}} }

func (m *attach) run(r *request) (message, error) {
	if m.Afid != noFid {
		return nil, badFid("attach", m.Afid, "is no authentication; none is needed")
	}
	a, err := r.attach(m.Aname, nil)
	return &rqid{Qid: qidOf(a, 0)}, err
}

// attach makes the fid of r the root of what is wanted.
func (r *request) attach(aname string, fence *tree.Fence) (tree.Attr, error) {
	if len(aname) > tree.MaxPath || fence != nil && len(fence.Path) > tree.MaxPath {
		return tree.Attr{}, longPath("attach")
	}
	f, err := r.s.fs.Attach(r.ctx, r.s.caller, aname, fence)
	if err != nil {
		return tree.Attr{}, err
	}
	a, err := f.Attr(r.ctx)
	if err != nil {
		forget(f)
		return tree.Attr{}, err
	}
	p := &place{file: f, id: a.ID}
	p.refs.Store(1)
	r.fresh.place = p
	return a, nil
}

func (m *walk) fids() uses {
	if m.Fid == m.NewFid {
		return uses{{m.Fid, owns}}
	}
	return uses{{m.Fid, shares}, {m.NewFid, makes}}
}

func (m *walk) run(r *request) (message, error) {
	f := r.fid[0]
	if r.fresh == nil && f.open() {
		return nil, badFid("walk", f.num, "is open")
	}
	p := f.place.hold()
	out := &rwalk{Qids: make([]qid, 0, len(m.Names))}
	for _, name := range m.Names {
		next, a, err := r.step(p, name)
		if err != nil {
			p.drop()
			if len(out.Qids) == 0 {
				return nil, err
			}
			return out, nil
		}
		p.drop()
		p = next
		out.Qids = append(out.Qids, qidOf(a, p.salt))
	}
	if r.fresh != nil {
		r.fresh.place = p
	} else {
		f.place.drop()
		f.place = p
	}
	return out, nil
}

// step goes from p to one of its entries or up; p stays held.
func (r *request) step(p *place, name string) (*place, tree.Attr, error) {
	if name == ".." {
		q := p
		if p.parent != nil {
			q = p.parent
		}
		a, err := q.file.Attr(r.ctx)
		if err != nil {
			return nil, a, err
		}
		return q.hold(), a, nil
	}
	f, err := r.entry(p, name)
	if err != nil {
		return nil, tree.Attr{}, err
	}
	a, err := f.Attr(r.ctx)
	if err != nil {
		forget(f)
		return nil, a, err
	}
	if r.hidden(a) {
		if g, b, err := r.through(a); err == nil {
			forget(f)
			q := p.below(name, g, b)
			q.salt = mix(p.salt, a.ID)
			return q, b, nil
		}
	}
	return p.below(name, f, a), a, nil
}

// entry walks to an entry of p.
func (r *request) entry(p *place, name string) (tree.File, error) {
	if err := checkName("walk", name); err != nil {
		return nil, err
	}
	if p.depth >= maxDepth {
		return nil, api.E(api.TooLarge, "walk", name, "more than %d directories deep", maxDepth)
	}
	return p.file.Walk(r.ctx, name)
}

// checkName is tree.CheckName with the number that Linux has for long names.
func checkName(op, name string) error {
	err := tree.CheckName(op, name)
	if api.KindOf(err) == api.TooLarge {
		return &numbered{err: asError(op, err), errno: syscall.ENAMETOOLONG}
	}
	return err
}

func longPath(op string) error {
	return &numbered{err: api.E(api.TooLarge, op, "", "a path has at most %d bytes", tree.MaxPath), errno: syscall.ENAMETOOLONG}
}

// hidden says that the client is not to see this link, but what is behind it.
func (r *request) hidden(a tree.Attr) bool {
	return !r.s.sigma && r.s.opts.Through != nil && a.Mode&tree.ModeType == tree.ModeEndpoint
}

func (r *request) through(link tree.Attr) (tree.File, tree.Attr, error) {
	f, err := r.s.opts.Through(r.ctx, link, r.s.caller)
	if err != nil {
		return nil, tree.Attr{}, err
	}
	a, err := f.Attr(r.ctx)
	if err != nil {
		forget(f)
	}
	return f, a, err
}

func (m *clunk) fids() uses { return uses{{m.Fid, ends}} }

func (m *clunk) run(r *request) (message, error) { return &empty{}, r.s.close(r.fid[0]) }

// sabandon is a clunk after which nothing comes of what was written, where the file
// comes to be when it is closed.
func (m *sabandon) fids() uses { return uses{{m.Fid, ends}} }

func (m *sabandon) run(r *request) (message, error) {
	err := r.s.abandon(r.fid[0])
	return &empty{}, errors.Join(err, r.s.close(r.fid[0]))
}

func (m *remove) fids() uses { return uses{{m.Fid, ends}} }

func (m *remove) run(r *request) (message, error) {
	f := r.fid[0]
	defer func() {
		r.s.abandon(f)
		r.s.close(f)
	}()
	p := f.place
	if p.parent == nil {
		return nil, errRoot("remove")
	}
	if err := p.same(r.ctx, "remove"); err != nil {
		return nil, err
	}
	a, err := p.file.Attr(r.ctx)
	if err != nil {
		return nil, err
	}
	return &empty{}, p.parent.file.Remove(r.ctx, p.name, a.IsDir())
}

func errRoot(op string) error {
	return &numbered{err: api.E(api.Invalid, op, "", "the root of an attach stays where it is"), errno: syscall.EBUSY}
}
