package ninep

import (
	"bytes"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (m *sget) fids() uses      { return share(m.Fid) }
func (m *sget) answerSize() int { return readHead + int(min(m.Max, maxSigma)) }

func (m *sget) run(r *request) (message, error) {
	at, err := m.find(r)
	if err != nil {
		return nil, err
	}
	defer at.drop()
	if at.Stop != stopDone {
		return &rsget{walked: at.walked}, nil
	}
	n := len(m.Names)
	a, data, err := m.get(r, &at)
	switch {
	case err == nil:
		return m.answer(r, walked{Names: uint16(n), Attr: a}, data), nil
	case n == 0 && at.atLink(r, 0, err):
		return &rsget{walked: at.walked}, nil
	case n == 0:
		return nil, err
	}
	if _, err := at.linkOr(r, n, err, true); err != nil {
		return nil, err
	}
	return &rsget{walked: at.walked}, nil
}

// find is the directory in which to get the last of the names; without names, the
// file itself.
func (m *sget) find(r *request) (found, error) {
	if len(m.Names) == 0 {
		return r.find(r.fid[0], nil)
	}
	return r.findParent("get", r.fid[0], m.Names)
}

// get reads the file: in one step with finding its name, where the directory can.
func (m *sget) get(r *request, at *found) (tree.Attr, []byte, error) {
	if at.last == "" {
		return r.get(at.file, m.most(r))
	}
	if dir, ok := at.file.(tree.EntryGetter); ok {
		return dir.GetEntry(r.ctx, at.last, m.most(r))
	}
	f, err := at.file.Walk(r.ctx, at.last)
	if err != nil {
		return tree.Attr{}, nil, err
	}
	defer forget(f)
	r.walked = true
	return r.get(f, m.most(r))
}

// most is what an answer may hold.
func (m *sget) most(r *request) int { return int(min(m.Max, uint32(r.s.msize))) }

// answer is a file's content, or that it is too large for one.
func (m *sget) answer(r *request, w walked, data []byte) *rsget {
	out := &rsget{walked: w, Data: data}
	if w.Attr.Size > int64(m.most(r)) || size(&out.walked)+headerSize+4+len(data) > r.s.msize {
		out.Stop, out.Data = stopLarge, nil
	}
	return out
}

// size is that of a message's fields.
func size(m message) int {
	c := coder{write: true}
	m.code(&c)
	return len(c.b)
}

// get reads a file whole, attributes and content of one version.
func (r *request) get(f tree.File, most int) (tree.Attr, []byte, error) {
	if g, ok := f.(tree.Getter); ok {
		return g.Get(r.ctx, most)
	}
	h, err := f.Open(r.ctx, tree.OpenMode{Read: true})
	if err != nil {
		return tree.Attr{}, nil, err
	}
	defer h.Close()
	for range 4 {
		a, err := f.Attr(r.ctx)
		if err != nil || a.Size > int64(most) {
			return a, nil, err
		}
		data, err := readFull(r.ctx, h, make([]byte, a.Size+1), 0)
		if err != nil {
			return a, nil, err
		}
		b, err := f.Attr(r.ctx)
		if err != nil {
			return b, nil, err
		}
		if a.Version == b.Version && int64(len(data)) == a.Size {
			return a, data, nil
		}
	}
	return tree.Attr{}, nil, api.E(api.Busy, "get", "", "it changes faster than it can be read; open it")
}

func (m *sput) fids() uses { return share(m.Fid) }

func (m *sput) run(r *request) (message, error) {
	if err := checkNew("put", m.Put.NewFile); err != nil {
		return nil, err
	}
	if len(m.Put.NoReplay) > maxID {
		return nil, bad("put", "the id of a write has at most %d bytes", maxID)
	}
	at, err := r.findParent("put", r.fid[0], m.Names)
	if err != nil {
		return nil, err
	}
	defer at.drop()
	if at.Stop != stopDone {
		return &at.walked, nil
	}
	m.Put.Data = bytes.Clone(m.Put.Data) // the tree may keep it
	if m.Put.Mode&tree.ModeType == 0 {
		m.Put.Mode |= tree.ModeFile
	}
	a, err := at.file.Put(r.ctx, at.last, m.Put)
	if err != nil {
		return at.linkOr(r, len(m.Names), err, !m.Put.Exclusive)
	}
	return &walked{Names: uint16(len(m.Names)), Attr: a}, nil
}

// linkOr turns an error that came from a link in the way into a stop there. The
// last of n names may be one that is to be followed.
func (at *found) linkOr(r *request, n int, err error, follow bool) (message, error) {
	if at.atLink(r, n-1, err) {
		return &at.walked, nil
	}
	switch api.KindOf(err) {
	case api.Invalid, api.Exists, api.NotDir, api.Loop:
		if follow && at.lastIsLink(r, n) {
			return &at.walked, nil
		}
	}
	return nil, err
}

func (m *sremove) fids() uses { return share(m.Fid) }

func (m *sremove) run(r *request) (message, error) {
	at, err := r.findParent("remove", r.fid[0], m.Names)
	if err != nil {
		return nil, err
	}
	defer at.drop()
	if at.Stop != stopDone {
		return &at.walked, nil
	}
	if err := at.file.Remove(r.ctx, at.last, m.Dir); err != nil {
		return at.linkOr(r, len(m.Names), err, false)
	}
	return &walked{Names: uint16(len(m.Names))}, nil
}

func (m *srename) fids() uses { return uses{{m.From.Fid, shares}, {m.To.Fid, shares}} }

func (m *srename) run(r *request) (message, error) {
	from, err := r.findParent("rename", r.fid[0], m.From.Names)
	if err != nil {
		return nil, err
	}
	defer from.drop()
	if from.Stop != stopDone {
		return &rsrename{walked: from.walked}, nil
	}
	to, err := r.findParent("rename", r.second(), m.To.Names)
	if err != nil {
		return nil, err
	}
	defer to.drop()
	if to.Stop != stopDone {
		return &rsrename{Second: true, walked: to.walked}, nil
	}
	err = from.file.Rename(r.ctx, from.last, to.file, to.last)
	switch {
	case err == nil:
		return &rsrename{}, nil
	case from.atLink(r, len(m.From.Names)-1, err):
		return &rsrename{walked: from.walked}, nil
	case to.atLink(r, len(m.To.Names)-1, err):
		return &rsrename{Second: true, walked: to.walked}, nil
	}
	return nil, err
}
