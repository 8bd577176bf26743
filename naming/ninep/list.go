package ninep

import (
	"slices"
	"syscall"

	"sigmaos/naming/tree"
)

// listing is an open directory of a plain client, which reads on from a cookie:
// the number of the last entry it was given. Trees read on from a name. The
// names of the latest entries are kept, and one for each answer before those, so
// that a client may read on, from the beginning, or from where an answer ended;
// elsewhere it is counted from the answer's beginning.
type listing struct {
	ends   []mark   // of answers, by cookie and by name
	given  uint64   // the highest cookie
	first  uint64   // the cookie of names[0]
	names  []string // of the latest entries
	budget int      // names that count against the server's
}

type mark struct {
	cookie uint64
	name   string
}

// Cookies of "." and ".."; entries have those behind.
const (
	cookieDot    = 1
	cookieDotDot = 2
)

const (
	maxListed  = 4096    // names of one listing
	maxEnds    = 256     // answers that it remembers
	maxBudget  = 1 << 18 // names that all listings of a connection remember
	direntHead = 24      // of an entry, without its name
)

// find returns the name to read on from behind a cookie, and how many entries
// behind that name are to be left out.
func (l *listing) find(cookie uint64) (after string, skip uint64, ok bool) {
	if cookie <= cookieDotDot {
		return "", 0, true
	}
	if i := cookie - l.first; cookie >= l.first && i < uint64(len(l.names)) {
		return l.names[i], 0, true
	}
	i, exact := slices.BinarySearchFunc(l.ends, cookie, func(m mark, c uint64) int {
		switch {
		case m.cookie < c:
			return -1
		case m.cookie > c:
			return 1
		}
		return 0
	})
	switch {
	case cookie > l.given:
		return "", 0, false
	case exact:
		return l.ends[i].name, 0, true
	case i == 0:
		return "", cookie - cookieDotDot, true
	}
	return l.ends[i-1].name, cookie - l.ends[i-1].cookie, true
}

// gave remembers the names that an answer gave behind cookie.
func (l *listing) gave(s *server, cookie uint64, names []string) {
	if len(names) == 0 {
		return
	}
	last := mark{cookie + uint64(len(names)), names[len(names)-1]}
	l.given = max(l.given, last.cookie)
	// The directory may have changed since it was read before: of the older marks
	// those stay that are in order with this one.
	kept := slices.DeleteFunc(l.ends, func(m mark) bool {
		if m.cookie <= cookie {
			return m.name >= names[0]
		}
		return m.cookie <= last.cookie || m.name <= last.name
	})
	i := 0
	for i < len(kept) && kept[i].cookie <= cookie {
		i++
	}
	l.ends = slices.Insert(kept, i, last)
	if len(l.ends) > maxEnds {
		kept := l.ends[:0]
		for j, m := range l.ends {
			if j%2 == 1 || j == len(l.ends)-1 {
				kept = append(kept, m)
			}
		}
		l.ends = kept
	}
	keep := min(len(names), maxListed)
	if !s.remember(l, len(l.ends)+keep) {
		l.ends, keep = append(l.ends[:0], last), 0
	}
	l.first = last.cookie - uint64(keep) + 1
	l.names = slices.Clone(names[len(names)-keep:])
}

// remember counts the names that l keeps, if there is room for them.
func (s *server) remember(l *listing, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed -= l.budget
	l.budget = n
	if s.listed+n > maxBudget {
		l.budget = 0
	}
	s.listed += l.budget
	return l.budget == n
}

func (m *readdir) fids() uses      { return uses{{m.Fid, owns}} }
func (m *readdir) answerSize() int { return readHead + int(min(m.Count, maxSigma)) }

func (m *readdir) run(r *request) (message, error) {
	f := r.fid[0]
	if f.listing == nil {
		return nil, badFid("readdir", f.num, "is not open as a directory")
	}
	after, skip, ok := f.listing.find(m.Offset)
	if !ok {
		return nil, bad("readdir", "cookie %d was not given out", m.Offset)
	}
	out := &page{r: r, cookie: m.Offset, room: int(min(m.Count, uint32(r.s.msize-readHead)))}
	if err := out.dots(f.place); err != nil {
		return nil, err
	}
	start := out.cookie
	for !out.full {
		want := max(16, min(out.room/32, tree.MaxPage))
		list, err := f.place.file.ReadDir(r.ctx, after, want)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			after = d.Name
			if skip > 0 {
				skip--
			} else if !out.add(f.place.salt, d) {
				break
			}
		}
		if len(list) < want {
			break
		}
	}
	if out.full && len(out.data) == 0 {
		return nil, bad("readdir", "no entry fits in %d bytes", m.Count)
	}
	f.listing.gave(r.s, start, out.names)
	return &rdata{Data: out.data}, nil
}

// page is one Rreaddir in the making.
type page struct {
	r      *request
	data   []byte
	cookie uint64 // of the last entry
	names  []string
	room   int
	full   bool
}

// dots adds "." and ".." where they belong.
func (p *page) dots(at *place) error {
	for p.cookie < cookieDotDot && !p.full {
		q, name := at, "."
		if p.cookie == cookieDot {
			if name = ".."; at.parent != nil {
				q = at.parent
			}
		}
		a, err := q.file.Attr(p.r.ctx)
		if err != nil && Errno(err) != syscall.ENOENT {
			return err
		}
		p.put(dirent{Qid: qid{Type: qidDir, Path: a.ID ^ q.salt}, Type: dtDir, Name: name})
	}
	return nil
}

func (p *page) add(salt uint64, d tree.Dirent) bool {
	e := dirent{Qid: qid{Type: qidType(d.Mode), Path: d.ID ^ salt}, Type: direntType(d.Mode), Name: d.Name}
	if p.r.hidden(tree.Attr{Mode: d.Mode}) {
		e.Type = dtUnknown // what is behind it is not asked for a listing
	}
	if !p.put(e) {
		return false
	}
	p.names = append(p.names, d.Name)
	return true
}

func (p *page) put(e dirent) bool {
	if p.room -= direntHead + len(e.Name); p.room < 0 {
		p.full = true
		return false
	}
	p.cookie++
	e.Offset = p.cookie
	c := coder{b: p.data, write: true}
	e.code(&c)
	p.data = c.b
	return true
}
