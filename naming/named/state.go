package named

import (
	"time"

	"github.com/google/btree"

	"sigmaos/naming/tree"
)

// inode is a file as it is stored. A published one is never changed in place:
// neither its fields nor the bytes of Data.
type inode struct {
	ID       uint64
	Parent   uint64 // where it is; from its entry's key, not in the value
	Name     string
	Version  uint64 // of the last change
	Created  uint64 // version that made it: the epoch of an election's file
	Mode     uint32
	Owner    string
	Modified int64 // ns of the wall clock
	// Version and time when it came to where it is. They are the directory's too,
	// which is not written for that.
	Entered   uint64
	EnteredAt int64
	Lease     string
	Target    string
	Data      []byte

	Published bool
}

func (in *inode) isDir() bool { return in.Mode&tree.ModeType == tree.ModeDir }

func (in *inode) isFile() bool { return in.Mode&tree.ModeType == tree.ModeFile }

// cost is what it counts for in the realm's bytes.
func (in *inode) cost() int64 { return int64(len(in.Data) + len(in.Target) + len(in.Name)) }

func (in *inode) attr() tree.Attr {
	return tree.Attr{ID: in.ID, Version: in.Version, Mode: in.Mode, Owner: in.Owner, Size: int64(len(in.Data) + len(in.Target)), Links: 1,
		Modified: time.Unix(0, in.Modified), Target: in.Target, Published: in.Published, Lease: in.Lease}
}

// node is an inode in memory, with what is known of it here only.
type node struct {
	inode
	kids    *btree.BTreeG[entry] // of a directory that ever had an entry
	subdirs int                  // entries that are directories
	open    int                  // handles
}

func (n *node) attr() tree.Attr {
	a := n.inode.attr()
	if n.isDir() {
		a.Links = uint32(2 + n.subdirs)
	}
	return a
}

func (n *node) len() int {
	if n.kids == nil {
		return 0
	}
	return n.kids.Len()
}

func (n *node) kid(name string) *node {
	if n.kids == nil {
		return nil
	}
	e, _ := n.kids.Get(entry{name: name})
	return e.n
}

// entry is an item of a directory's B-tree.
type entry struct {
	name string
	n    *node
}

type entryKey struct {
	parent uint64
	name   string
}

// state is a realm's tree in its leader's memory: what is committed and
// nothing else. The term's lock guards it.
type state struct {
	nodes   map[uint64]*node
	orphans map[uint64]*node // removed, but open: gone with the last handle
	leases  map[string]*lease
	holders map[string]map[string]*lease // by proc

	replays    map[replayKey]replay
	replayKeys map[uint64]replayKey // by sequence number
	replayNext uint64
	// The last ones are in the log's value, those before in groups of one key each.
	replayTail []replay
	groups     []replayGroup // in order

	version uint64 // of the last change
	nextID  uint64 // for the next file
	files   int64
	bytes   int64 // of files and orphans
	handles int
}

func newState() *state {
	return &state{
		nodes: make(map[uint64]*node), orphans: make(map[uint64]*node),
		leases: make(map[string]*lease), holders: make(map[string]map[string]*lease),
		replays: make(map[replayKey]replay), replayKeys: make(map[uint64]replayKey), replayNext: 1,
		nextID: rootID + 1,
	}
}

// file finds a file by id; one that was removed is found while it is open.
func (st *state) file(id uint64) *node {
	if n := st.nodes[id]; n != nil {
		return n
	}
	return st.orphans[id]
}

// link enters n in its parent's directory, replacing an entry of the name.
func (st *state) link(parent *node, name string, n *node) {
	if parent.kids == nil {
		parent.kids = btree.NewG(32, func(a, b entry) bool { return a.name < b.name })
	}
	old, had := parent.kids.ReplaceOrInsert(entry{name: name, n: n})
	if had && old.n.isDir() {
		parent.subdirs--
	}
	if n.isDir() {
		parent.subdirs++
	}
}

func (st *state) unlink(parent *node, name string) {
	if parent.kids == nil {
		return
	}
	if old, had := parent.kids.Delete(entry{name: name}); had && old.n.isDir() {
		parent.subdirs--
	}
}

// replayKey is who wrote under which id.
type replayKey struct{ user, id string }

// replay is a remembered write: what it returned.
type replay struct {
	key      replayKey
	seq      uint64
	file     uint64
	version  uint64
	mode     uint32
	size     int64
	modified int64
	owner    string
	lease    string
}

func (p *replay) attr() tree.Attr {
	return tree.Attr{ID: p.file, Version: p.version, Mode: p.mode, Owner: p.owner, Size: p.size, Links: 1,
		Modified: time.Unix(0, p.modified), Lease: p.lease}
}

// replayGroup is the numbers of those in one key.
type replayGroup struct{ first, last uint64 }

// remember keeps p and forgets the id that is limit older.
func (st *state) remember(p replay, limit int) {
	st.replays[p.key] = p
	st.replayKeys[p.seq] = p.key
	st.replayNext = max(st.replayNext, p.seq+1)
	st.forget(p.seq - min(p.seq, uint64(limit)))
}

func (st *state) forget(seq uint64) {
	key, ok := st.replayKeys[seq]
	if !ok {
		return
	}
	delete(st.replayKeys, seq)
	if st.replays[key].seq == seq {
		delete(st.replays, key)
	}
}
