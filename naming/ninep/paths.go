package ninep

import (
	"sigmaos/api"
	"sigmaos/naming/tree"
)

// found is where the names of a path led.
type found struct {
	*place        // held
	walked        // Stop and, at a link, all of it
	last   string // the name that was left out, when one was
}

func isLink(a tree.Attr) bool {
	t := a.Mode & tree.ModeType
	return t == tree.ModeSymlink || t == tree.ModeEndpoint
}

// find walks from a fid along names. Where a link is in the way it stops there,
// which is no error. The place is held.
func (r *request) find(f *fid, names []string) (found, error) {
	bytes := 0
	for _, name := range names {
		bytes += len(name) + 1
	}
	if bytes > tree.MaxPath {
		return found{}, longPath("walk")
	}
	at := found{place: f.place.hold()}
	for i, name := range names {
		file, err := r.entry(at.place, name)
		if err != nil {
			if at.atLink(r, i, err) {
				return at, nil
			}
			at.drop()
			return at, err
		}
		next := at.place.below(name, file, tree.Attr{})
		at.drop()
		at.place = next
	}
	at.Names = uint16(len(names))
	r.walked = len(names) > 0
	return at, nil
}

// findParent walks along all names but the last.
func (r *request) findParent(op string, f *fid, names []string) (found, error) {
	if len(names) == 0 {
		return found{}, bad(op, "a name is needed")
	}
	last := names[len(names)-1]
	if err := checkName(op, last); err != nil {
		return found{}, err
	}
	at, err := r.find(f, names[:len(names)-1])
	r.walked = false // that the entry is not there is an answer
	at.last = last
	return at, err
}

// maxID bounds what trees remember for a client: ids of leases and of writes.
const maxID = 255

func checkNew(op string, n tree.NewFile) error {
	switch {
	case len(n.Lease) > maxID:
		return api.E(api.NotFound, op, "", "there is no such lease")
	case len(n.Target) > tree.MaxPath:
		return longPath(op)
	}
	return nil
}

// atLink reports whether err came about because the place is a link, reached by
// n names; then the walk has stopped there.
func (at *found) atLink(r *request, n int, err error) bool {
	switch api.KindOf(err) {
	case api.NotDir, api.Invalid, api.Loop:
	default:
		return false
	}
	a, err := at.file.Attr(r.ctx)
	return err == nil && at.stop(n, a)
}

// lastIsLink is atLink for the entry that was left out.
func (at *found) lastIsLink(r *request, n int) bool {
	f, err := at.file.Walk(r.ctx, at.last)
	if err != nil {
		return false
	}
	defer forget(f)
	a, err := f.Attr(r.ctx)
	return err == nil && at.stop(n, a)
}

func (at *found) stop(n int, a tree.Attr) bool {
	if !isLink(a) {
		return false
	}
	at.walked = walked{Stop: stopLink, Names: uint16(n), Attr: a}
	return true
}

// looked notes the number of the file, unless the place is that of the fid, which
// has it.
func (at *found) looked(a tree.Attr) {
	if at.Names > 0 {
		at.id = a.ID
	}
}

// done is the answer for a path that was walked to its end.
func (at *found) done(a tree.Attr) walked { return walked{Names: at.Names, Attr: a} }

func (m *sattach) fids() uses { return uses{{m.Fid, makes}} }

func (m *sattach) run(r *request) (message, error) {
	var fence *tree.Fence
	if m.Fenced {
		fence = &m.Fence
	}
	a, err := r.attach(m.Path, fence)
	return &walked{Attr: a}, err
}

func (m *swalk) fids() uses { return uses{{m.Fid, shares}, {m.NewFid, makes}} }

func (m *swalk) run(r *request) (message, error) {
	at, err := r.find(r.fid[0], m.Names)
	if err != nil {
		return nil, err
	}
	if at.Stop != stopDone {
		at.drop()
		return &at.walked, nil
	}
	a, err := at.file.Attr(r.ctx)
	if err != nil {
		at.drop()
		return nil, err
	}
	at.looked(a)
	r.fresh.place = at.place
	w := at.done(a)
	return &w, nil
}

func (m *sstat) fids() uses { return share(m.Fid) }

func (m *sstat) run(r *request) (message, error) {
	if len(m.Names) == 0 {
		a, err := r.attr()
		return &walked{Attr: a}, err
	}
	at, err := r.find(r.fid[0], m.Names)
	if err != nil {
		return nil, err
	}
	defer at.drop()
	if at.Stop != stopDone {
		return &at.walked, nil
	}
	a, err := at.file.Attr(r.ctx)
	w := at.done(a)
	return &w, err
}

func (m *ssetattr) fids() uses { return share(m.Fid) }

func (m *ssetattr) run(r *request) (message, error) {
	if len(m.Names) == 0 {
		a, err := r.setAttr(m.Set)
		return &walked{Attr: a}, err
	}
	at, err := r.find(r.fid[0], m.Names)
	if err != nil {
		return nil, err
	}
	defer at.drop()
	if at.Stop != stopDone {
		return &at.walked, nil
	}
	a, err := at.file.SetAttr(r.ctx, m.Set)
	w := at.done(a)
	return &w, err
}
