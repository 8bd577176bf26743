package memfs

import (
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// node is a file, directory or link; fs.mu guards it.
type node struct {
	id        uint64
	version   uint64
	mode      uint32
	owner     string
	modified  time.Time
	data      []byte
	target    string
	published bool
	lease     *lease

	parent  *node // nil: the root, or gone
	name    string
	entries map[string]*node // of a directory
	names   names            // the same in order
	open    int              // handles
}

func (n *node) isDir() bool { return n.mode&tree.ModeType == tree.ModeDir }

func (n *node) attr(fs *FS) tree.Attr {
	a := tree.Attr{
		ID: n.id, Version: n.version, Mode: n.mode, Owner: n.owner, Size: int64(len(n.data)), Links: 1,
		Modified: n.modified, Target: n.target, Published: n.published,
	}
	if n.target != "" {
		a.Size = int64(len(n.target))
	}
	if n.lease != nil {
		a.Lease = n.lease.id
	}
	if n.gone(fs) {
		a.Links = 0
	}
	return a
}

// gone reports that the node's entry was removed.
func (n *node) gone(fs *FS) bool { return n.parent == nil && n != fs.root }

// newNodeLocked makes a node that is nowhere yet.
func (fs *FS) newNodeLocked(nf tree.NewFile, owner string) *node {
	fs.lastID++
	n := &node{
		id: fs.lastID, mode: nf.Mode & (tree.ModeType | tree.ModePerm), owner: owner, modified: fs.o.Now(), version: fs.history.version,
		target: nf.Target, published: nf.Published,
	}
	if n.isDir() {
		n.entries = make(map[string]*node)
	}
	fs.files++
	fs.bytes += int64(len(n.target))
	return n
}

// linkLocked makes n the entry name of dir.
func (fs *FS) linkLocked(dir *node, name string, n *node) {
	n.parent, n.name = dir, name
	dir.entries[name] = n
	dir.names.insert(name)
}

// unlinkLocked takes n's entry away; what nobody has open is forgotten.
func (fs *FS) unlinkLocked(n *node) {
	dir := n.parent
	delete(dir.entries, n.name)
	dir.names.remove(n.name)
	n.parent = nil
}

// forgetLocked frees an unlinked node, unless somebody has it open.
func (fs *FS) forgetLocked(n *node) {
	if n.lease != nil {
		delete(n.lease.nodes, n)
		n.lease = nil
	}
	if n.open == 0 {
		fs.files--
		fs.bytes -= int64(len(n.data) + len(n.target))
		n.data = nil
	}
}

// roomLocked reports whether a file of size bytes may grow to want.
func (fs *FS) roomLocked(op string, size, want int64) error {
	switch {
	case want > fs.o.MaxFile:
		return api.E(api.TooLarge, op, "", "a file of %d bytes; the limit here is %d", want, fs.o.MaxFile)
	case want > size && fs.bytes+want-size > fs.o.MaxBytes:
		return api.E(api.Busy, op, "", "the tree is full: it holds %d bytes at most; remove something", fs.o.MaxBytes)
	}
	return nil
}

// resizeLocked makes n's content size bytes long; there is room.
func (fs *FS) resizeLocked(n *node, size int64) {
	old := int64(len(n.data))
	fs.bytes += size - old
	switch {
	case size <= int64(cap(n.data)) && size >= int64(cap(n.data))/4:
		n.data = n.data[:size]
		if size > old {
			clear(n.data[old:])
		}
	case size <= old: // let most of it go
		n.data = append([]byte(nil), n.data[:size]...)
	default:
		n.data = append(n.data, make([]byte, size-old)...)
	}
}

// touchLocked records a change of n's content or attributes.
func (fs *FS) touchLocked(n *node, modified bool) {
	if modified {
		n.modified = fs.o.Now()
	}
	n.version = fs.changeLocked(n.record(tree.Changed))
}

// record is a change of n under its present name.
func (n *node) record(kind tree.EventKind) record {
	r := record{kind: kind, name: n.name, id: n.id}
	if n.parent != nil {
		r.dir = n.parent.id
	}
	return r
}
