package ninep

import "sigmaos/naming/tree"

func modeOf(bits uint8) tree.OpenMode {
	return tree.OpenMode{
		Read: bits&openRead != 0, Write: bits&openWrite != 0, Append: bits&openAppend != 0, Truncate: bits&openTruncate != 0,
	}
}

func bitsOf(m tree.OpenMode) (bits uint8) {
	for i, is := range []bool{m.Read, m.Write, m.Append, m.Truncate} {
		if is {
			bits |= 1 << i
		}
	}
	return bits
}

// fids: without a new fid, something is made and not kept.
func (m *screate) fids() uses {
	if m.NewFid == noFid && m.Open == 0 {
		return share(m.Fid)
	}
	return uses{{m.Fid, shares}, {m.NewFid, makes}}
}

func (m *screate) run(r *request) (message, error) {
	if err := checkNew("create", m.New); err != nil {
		return nil, err
	}
	at, err := r.findParent("create", r.fid[0], m.Names)
	if err != nil {
		return nil, err
	}
	defer at.drop()
	if at.Stop != stopDone {
		return &ropened{walked: at.walked}, nil
	}
	if m.New.Mode&tree.ModeType == 0 {
		m.New.Mode |= tree.ModeFile
	}
	p, a, err := m.create(r, at)
	if err != nil {
		follow := !m.New.Exclusive && m.New.Mode&tree.ModeType == tree.ModeFile
		w, err := at.linkOr(r, len(m.Names), err, follow)
		if err != nil {
			return nil, err
		}
		return &ropened{walked: *w.(*walked)}, nil
	}
	if r.fresh != nil {
		r.fresh.place = p
	} else {
		p.drop()
	}
	return &ropened{walked: walked{Names: uint16(len(m.Names)), Attr: a}, Iounit: r.s.iounit()}, nil
}

func (m *screate) create(r *request, at found) (*place, tree.Attr, error) {
	if m.Open != 0 && m.New.Mode&tree.ModeType == tree.ModeFile {
		return r.create(r.fresh, at.place, at.last, m.New, modeOf(m.Open))
	}
	f, err := at.file.Create(r.ctx, at.last, m.New)
	if err != nil {
		return nil, tree.Attr{}, err
	}
	a, err := f.Attr(r.ctx)
	if err != nil {
		forget(f)
		return nil, a, err
	}
	return at.place.below(at.last, f, a), a, nil
}

func (m *sopen) fids() uses { return uses{{m.Fid, shares}, {m.NewFid, makes}} }

func (m *sopen) run(r *request) (message, error) {
	at, err := r.find(r.fid[0], m.Names)
	if err != nil {
		return nil, err
	}
	if at.Stop != stopDone {
		at.drop()
		return &ropened{walked: at.walked}, nil
	}
	if err := r.openFile(r.fresh, at.file, modeOf(m.Open)); err != nil {
		defer at.drop()
		if at.atLink(r, len(m.Names), err) {
			return &ropened{walked: at.walked}, nil
		}
		return nil, err
	}
	a, err := attrOf(r, r.fresh.handle, at.file)
	if err != nil {
		r.s.closeHandle(r.fresh)
		at.drop()
		return nil, err
	}
	at.looked(a)
	r.s.opened(r.fresh, a.ID^at.salt)
	r.fresh.place = at.place
	out := &ropened{walked: at.done(a), Iounit: r.s.iounit()}
	if m.Want && m.Open == openRead {
		out.Descriptor = r.descriptor()
	}
	return out, nil
}

func attrOf(r *request, h tree.Handle, f tree.File) (tree.Attr, error) {
	if h, ok := h.(tree.Attrs); ok {
		return h.Attr(r.ctx)
	}
	return f.Attr(r.ctx)
}

// descriptor sends the file itself with the answer, where there is one and the
// connection can.
func (r *request) descriptor() bool {
	d, ok := r.fresh.handle.(tree.Descriptor)
	if !ok || !r.s.out.descriptors() {
		return false
	}
	file, err := d.Descriptor()
	if err != nil {
		return false
	}
	r.file = file
	return true
}

func (s *sender) descriptors() bool {
	_, ok := s.conn.(descriptorWriter)
	return ok
}
