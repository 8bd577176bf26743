package named

import (
	"sigmaos/api"
	"sigmaos/naming/tree"
)

// stage is what a batch of changes would make of the state: the committer runs
// one change after the other against it, sends the difference to etcd as one
// transaction, and publishes it when that is committed. Until then nobody else
// sees anything of it; if it fails, it is dropped.
//
// A change checks everything before its first edit, so that one that fails
// leaves no trace.
type stage struct {
	st     *state
	limits *Limits
	now    int64 // wall clock, ns

	drafts  map[uint64]*draft
	ents    map[entryKey]uint64 // 0: the entry is gone
	kids    map[uint64]int      // change of a directory's number of entries
	leases  map[string]*leaseRecord
	events  []event
	replays []replay

	// Where remembered writes go, once regroup has said so.
	grouped     bool
	tail, group []replay
	forgotten   int // of the state's groups

	gone    int // entries that went
	version uint64
	nextID  uint64
	files   int64 // change
	bytes   int64 // change
	size    int   // bytes of changed inodes, roughly
}

// draft is the new form of an inode.
type draft struct {
	inode
	dirty   bool // more changed than its place, or what came into it
	moved   bool
	removed bool
	orphan  bool // was removed before, is changed through an open handle
}

func newStage(st *state, limits *Limits, now int64) *stage {
	return &stage{
		st: st, limits: limits, now: now, version: st.version, nextID: st.nextID,
		drafts: make(map[uint64]*draft), ents: make(map[entryKey]uint64), kids: make(map[uint64]int), leases: make(map[string]*leaseRecord),
	}
}

// empty reports whether nothing is to be written. Removed files that are open
// are in memory alone.
func (s *stage) empty() bool {
	for _, d := range s.drafts {
		if !d.orphan {
			return false
		}
	}
	return len(s.leases) == 0
}

// shrinks reports whether the tree has less in it afterwards.
func (s *stage) shrinks() bool {
	less := s.files < 0 || s.bytes < 0
	for _, l := range s.leases {
		if l != nil {
			return false
		}
		less = true
	}
	return less && s.files <= 0 && s.bytes <= 0
}

// keys is the number of keys that the transaction will touch, at most, but for
// those that every one may have besides.
func (s *stage) keys() int { return len(s.drafts) + s.gone + len(s.leases) }

// get is a file of the tree, or nil. The caller does not change it.
func (s *stage) get(id uint64) *inode {
	if d, ok := s.drafts[id]; ok {
		if d.removed || d.orphan {
			return nil
		}
		return &d.inode
	}
	if n := s.st.nodes[id]; n != nil {
		return &n.inode
	}
	return nil
}

// opened is get for an open handle: removed files are there too.
func (s *stage) opened(id uint64) *inode {
	if d, ok := s.drafts[id]; ok {
		return &d.inode
	}
	if n := s.st.file(id); n != nil {
		return &n.inode
	}
	return nil
}

// edit is a file to be changed; it must be there.
func (s *stage) edit(id uint64) *inode {
	d := s.draft(id)
	d.dirty = true
	return &d.inode
}

func (s *stage) draft(id uint64) *draft {
	if d, ok := s.drafts[id]; ok {
		return d
	}
	n := s.st.nodes[id]
	d := &draft{orphan: n == nil}
	if d.orphan {
		n = s.st.orphans[id]
	}
	d.inode = n.inode
	s.drafts[id] = d
	return d
}

// removed reports whether a file that opened finds has left the tree.
func (s *stage) removed(id uint64) bool { return s.get(id) == nil }

func (s *stage) child(parent uint64, name string) *inode {
	if id, ok := s.ents[entryKey{parent, name}]; ok {
		if id == 0 {
			return nil
		}
		return s.get(id)
	}
	n := s.st.nodes[parent]
	if n == nil {
		return nil
	}
	k := n.kid(name)
	if k == nil {
		return nil
	}
	return s.get(k.ID)
}

// len is a directory's number of entries.
func (s *stage) len(dir uint64) int {
	n := s.kids[dir]
	if d := s.st.nodes[dir]; d != nil {
		n += d.len()
	}
	return n
}

// subdirs calls fn with every directory in dir until it returns false.
func (s *stage) subdirs(dir uint64, fn func(*inode) bool) bool {
	if n := s.st.nodes[dir]; n != nil && n.subdirs > 0 {
		more := true
		n.kids.Ascend(func(e entry) bool {
			if _, changed := s.ents[entryKey{dir, e.name}]; !changed && e.n.isDir() {
				more = fn(s.get(e.n.ID))
			}
			return more
		})
		if !more {
			return false
		}
	}
	for k, id := range s.ents {
		if k.parent != dir || id == 0 {
			continue
		}
		if in := s.get(id); in != nil && in.isDir() && !fn(in) {
			return false
		}
	}
	return true
}

// bump gives the next change its version.
func (s *stage) bump() uint64 {
	s.version++
	return s.version
}

// left marks that an entry of dir went at version.
func (s *stage) left(dir, version uint64) {
	p := s.edit(dir)
	p.Version, p.Modified = version, s.now
	s.size += 128
}

// entered marks that id came into dir at version. It is the entry that tells so:
// the directory itself is not written.
func (s *stage) entered(dir, id, version uint64) {
	p, in := s.draft(dir), s.draft(id)
	p.Version, p.Modified = version, s.now
	in.Entered, in.EnteredAt = version, s.now
}

// charge checks that the realm may have so many files and bytes more.
func (s *stage) charge(r *req, name string, files, bytes int64) error {
	if n := s.st.files + s.files + files; files > 0 && n > s.limits.Files {
		return r.err(api.Busy, name, "the realm has %d files and may not have more (remove some)", s.limits.Files)
	}
	if n := s.st.bytes + s.bytes + bytes; bytes > 0 && n > s.limits.Bytes {
		return r.err(api.Busy, name, "the realm's quota of %d bytes in named is used up (remove something; large files belong into /ux or /s3)", s.limits.Bytes)
	}
	return nil
}

// add makes a new file with everything but ID, Version, Created and Modified,
// which it fills in.
func (s *stage) add(in inode) *inode {
	v := s.bump()
	in.ID, in.Version, in.Created, in.Modified = s.nextID, v, v, s.now
	s.nextID++
	d := &draft{inode: in, dirty: true}
	s.drafts[in.ID] = d
	s.enter(in.Parent, in.Name, in.ID)
	s.entered(in.Parent, in.ID, v)
	s.files++
	s.bytes += in.cost()
	s.size += 256 + len(in.Data) + len(in.Target)
	s.events = append(s.events, event{version: v, kind: tree.Created, parent: in.Parent, name: in.Name, id: in.ID})
	return &d.inode
}

// drop takes a file out of the tree.
func (s *stage) drop(id uint64) {
	in := s.draft(id)
	in.removed = true
	s.leave(in.Parent, in.Name)
	v := s.bump()
	s.left(in.Parent, v)
	s.files--
	s.bytes -= in.cost()
	s.events = append(s.events, event{version: v, kind: tree.Removed, parent: in.Parent, name: in.Name, id: id})
}

// move gives a file another place, which must be free. All of it is written there.
func (s *stage) move(id, parent uint64, name string) {
	in := s.get(id)
	oldParent, oldName := in.Parent, in.Name
	v := s.bump()
	s.leave(oldParent, oldName)
	if oldParent != parent { // else the file itself will tell of a later change
		s.left(oldParent, v)
	}
	s.events = append(s.events, event{version: v, kind: tree.Renamed, parent: oldParent, name: oldName, id: id})

	v = s.bump()
	m := s.draft(id)
	m.Parent, m.Name, m.moved = parent, name, true
	s.enter(parent, name, id)
	s.entered(parent, id, v)
	s.bytes += int64(len(name) - len(oldName))
	s.size += 256 + len(m.Data) + len(m.Target)
	s.events = append(s.events, event{version: v, kind: tree.Created, parent: parent, name: name, id: id})
}

func (s *stage) enter(parent uint64, name string, id uint64) {
	s.ents[entryKey{parent, name}] = id
	s.kids[parent]++
}

func (s *stage) leave(parent uint64, name string) {
	s.ents[entryKey{parent, name}] = 0
	s.gone++
	s.kids[parent]--
}

// changed gives a file that was edited a new version, and says so to watchers
// unless it has left the tree.
func (s *stage) changed(in *inode) {
	s.size += 256 + len(in.Data) + len(in.Target)
	if s.removed(in.ID) {
		return
	}
	in.Version = s.bump()
	s.events = append(s.events, event{version: in.Version, kind: tree.Changed, parent: in.Parent, name: in.Name, id: in.ID})
}
