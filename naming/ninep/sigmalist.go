package ninep

import (
	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (m *sreaddir) fids() uses      { return share(m.Fid) }
func (m *sreaddir) answerSize() int { return maxSigma }

func (m *sreaddir) run(r *request) (message, error) {
	at, err := r.find(r.fid[0], m.Names)
	if err != nil {
		return nil, err
	}
	defer at.drop()
	if at.Stop != stopDone {
		return &rsreaddir{walked: at.walked}, nil
	}
	want := int(min(m.Max, tree.MaxPage))
	if want == 0 {
		want = tree.MaxPage
	}
	list, attrs, known, err := m.list(r, at.file, want)
	if err != nil {
		if at.atLink(r, len(m.Names), err) {
			return &rsreaddir{walked: at.walked}, nil
		}
		return nil, err
	}
	a, err := at.file.Attr(r.ctx)
	if err != nil {
		return nil, err
	}
	out := &rsreaddir{walked: at.done(a), End: len(list) < want}
	room := r.s.msize - headerSize - 3 - size(&out.walked)
	for i, d := range list {
		e := Entry{Dirent: d}
		if attrs != nil {
			e.Attr = &attrs[i]
		} else if m.Attrs && !known {
			e.Attr = r.look(at.file, d.Name)
		}
		if room -= entrySize(e); room < 0 {
			out.End = false
			break
		}
		out.Entries = append(out.Entries, e)
	}
	if len(out.Entries) == 0 && len(list) > 0 {
		return nil, bad("readdir", "no entry fits in messages of %d bytes", r.s.msize)
	}
	return out, nil
}

// list asks for one page, with the attributes where the tree gives them so; known
// says that there are no others.
func (m *sreaddir) list(r *request, dir tree.File, want int) (list []tree.Dirent, attrs []tree.Attr, known bool, err error) {
	if l, ok := dir.(tree.Lister); ok && m.Attrs {
		list, attrs, err = l.List(r.ctx, m.After, want)
		if err == nil && attrs != nil && len(attrs) != len(list) {
			err = api.E(api.Internal, "readdir", "", "%d entries and %d attributes", len(list), len(attrs))
		}
		return list, attrs, true, err
	}
	list, err = dir.ReadDir(r.ctx, m.After, want)
	return list, nil, false, err
}

// entrySize is that of e in a message.
func entrySize(e Entry) int {
	n := 2 + len(e.Name) + 8 + 4 + 1
	if e.Attr != nil {
		n += size(&walked{Attr: *e.Attr}) - 3
	}
	return n
}

// look returns the attributes of an entry, nil if it is gone.
func (r *request) look(dir tree.File, name string) *tree.Attr {
	f, err := dir.Walk(r.ctx, name)
	if err != nil {
		return nil
	}
	defer forget(f)
	a, err := f.Attr(r.ctx)
	if err != nil {
		return nil
	}
	return &a
}
