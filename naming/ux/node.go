package ux

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// node is a file that somebody knows: through a File, an open handle, a node
// below it. There is one for each file, so that a rename moves it for all of
// them; when nobody knows it any more the collector takes it, and what it meant
// is in the attribute on the disk.
//
// Order of locks: realm.ns, then content, then the small ones (realm.tab,
// history.mu, table.mu, ledger.mu), which are not held over each other.
type node struct {
	r *realm

	// The place. Written with ns and history.mu held, gone with content too; read
	// with any of them.
	parent *node // nil: the root, or gone
	name   string
	gone   bool

	children map[string]weak.Pointer[node] // those known; guarded by realm.tab
	sweepAt  int                           // entries of children at which dead ones are looked for

	meta   atomic.Pointer[meta] // of directories changed with ns held, of others with content held
	target string               // of a link

	content  sync.RWMutex
	fd       int   // -1: not open; all handles share it
	writable bool  // fd may be written
	size     int64 // while fd is open
	handles  int
	writers  int  // of the handles
	handed   bool // its descriptor was given out and may still be open
}

func (n *node) id() uint64 { return n.meta.Load().id }

// record is a change of n under its present name. ns or history.mu is held.
func (n *node) record(kind tree.EventKind) record {
	r := record{kind: kind, name: n.name, id: n.id()}
	if n.parent != nil {
		r.dir = n.parent.id()
	}
	return r
}

// path is where n is below the realm's tree. ns is held.
func (n *node) path() (string, error) {
	var names []string
	length := 0
	for at := n; at.parent != nil || at.gone; at = at.parent {
		if at.gone { // a directory that was emptied behind our back
			return "", unix.ENOENT
		}
		names = append(names, at.name)
		if length += len(at.name) + 1; length > tree.MaxPath {
			return "", api.E(api.TooLarge, "open", n.name, "its path is longer than %d bytes; move it up", tree.MaxPath)
		}
	}
	if len(names) == 0 {
		return ".", nil
	}
	var b strings.Builder
	b.Grow(length)
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteString(names[i])
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return b.String(), nil
}

// open opens the file itself. ns is held.
func (n *node) open(flags int) (int, error) {
	path, err := n.path()
	if err != nil {
		return -1, err
	}
	return openDeep(n.r.tree, path, flags)
}

// known returns the node of an entry if there is one. tab is held.
func (n *node) known(name string) *node {
	return n.children[name].Value()
}

// adopt makes child an entry of the known ones. tab is held.
func (n *node) adopt(name string, child *node) {
	if n.children == nil {
		n.children = make(map[string]weak.Pointer[node])
	}
	if len(n.children) >= n.sweepAt {
		for name, p := range n.children {
			if p.Value() == nil {
				delete(n.children, name)
			}
		}
		n.sweepAt = 2*len(n.children) + 64
	}
	n.children[name] = weak.Make(child)
}

var seed = maphash.MakeSeed()

// lookup returns the entry name of dir; an error is for callers. ns is held.
//
// One goroutine at a time reads an entry from the disk: two nodes for one file,
// or one with an attribute from before a change, must never be.
func (r *realm) lookup(op string, dir *node, name string) (*node, error) {
	r.tab.Lock()
	n := dir.known(name)
	r.tab.Unlock()
	if n != nil {
		return n, nil
	}
	gate := r.gate(dir, name)
	gate.Lock()
	defer gate.Unlock()
	r.tab.Lock()
	n = dir.known(name)
	r.tab.Unlock()
	if n != nil {
		return n, nil
	}
	n, err := r.load(dir, name)
	if err != nil {
		return nil, r.s.fail(op, name, err)
	}
	r.tab.Lock()
	dir.adopt(name, n)
	r.tab.Unlock()
	return n, nil
}

// gate is what who loads an entry holds.
func (r *realm) gate(dir *node, name string) *sync.Mutex {
	return &r.gates[maphash.Comparable(seed, entry{dir, name})%uint64(len(r.gates))]
}

type entry struct {
	dir  *node
	name string
}

// load reads an entry from the disk. ns is held.
func (r *realm) load(dir *node, name string) (*node, error) {
	n := &node{r: r, parent: dir, name: name, fd: -1}
	fd, err := n.open(forReading)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	m, err := n.settle(fd)
	if err != nil {
		return nil, err
	}
	n.meta.Store(m)
	if !m.isDir() && !m.isFile() {
		n.target, err = readTarget(fd)
	}
	return n, err
}

// settle reads what the file, open as fd, means, and puts right what a crash or
// an operator left.
func (n *node) settle(fd int) (*meta, error) {
	st, err := fstat(fd)
	if err != nil {
		return nil, err
	}
	if t := st.Mode & unix.S_IFMT; t != unix.S_IFREG && t != unix.S_IFDIR {
		return nil, unix.ENOENT // a thing of another type, put there by hand
	}
	m, err := readMeta(fd)
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		m = n.r.stray(st.Mode)
	case m.isDir() != (st.Mode&unix.S_IFMT == unix.S_IFDIR):
		return nil, errMeta
	case !m.dirty && m.undo < 0:
		return m, nil
	default:
		if err := n.cut(m.undo, st.Size); err != nil {
			return nil, err
		}
		fresh := *m
		m = &fresh
		m.version = n.r.fresh()
	}
	m.dirty, m.undo = false, -1
	if err := writeMeta(fd, m); err != nil {
		// A disk that is full, or only read: it is settled anew next time.
		n.r.s.log.Warn("the attribute of a file cannot be written", "realm", n.r.id, "file", n.name, "err", err)
	}
	return m, nil
}

// cut takes back an append that was not finished, when there is one.
func (n *node) cut(undo, size int64) error {
	if undo < 0 || undo >= size {
		return nil
	}
	fd, err := n.open(forWriting)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := retry(func() error { return unix.Ftruncate(fd, undo) }); err != nil {
		return err
	}
	n.r.give(charge(size)-charge(undo), 0)
	return nil
}

// stray is the meaning of a file without an attribute: somebody put it there
// by hand, for the realm.
func (r *realm) stray(mode uint32) *meta {
	v := r.fresh()
	m := &meta{mode: tree.ModeFile | 0o660, id: v, version: v, undo: -1}
	if mode&unix.S_IFMT == unix.S_IFDIR {
		m.mode = tree.ModeDir | 0o770
	}
	return m
}

// fresh gives out a version with which no watch has anything to do.
func (r *realm) fresh() uint64 {
	v := r.hist.begin(nil)
	r.hist.end(v)
	return v
}

func readTarget(fd int) (string, error) {
	b := make([]byte, tree.MaxPath)
	n, err := readAll(fd, b, 0)
	return string(b[:n]), err
}
