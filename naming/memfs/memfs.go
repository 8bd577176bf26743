// Package memfs is a [tree.FS] in memory: what a proc serves its own files
// from, and what the wire and everything above it is tested on.
//
// It does all that package tree speaks of: owners and mode bits, versions,
// conditions, watches that go on from a remembered version, leases with
// ephemeral files, fences. Everything in it is bounded; over a bound the error
// is Busy (the tree is full) or TooLarge (one file is). Nothing outlives the
// process, and a new tree begins with a version later than any of an old one, so
// that a watch which goes on after a restart is told TooOld.
//
// # Ephemeral files
//
// A file made with a lease goes when the lease ends. Until then only its
// holder's user or an operator may remove, move or replace it, whatever the
// directory's bits say.
//
// # Fences
//
// The tree remembers the latest epoch of each election that anybody attached
// with. A File of an earlier one can only read. A tree does not ask the
// election: it learns of a new term from its winner, who attaches before writing.
package memfs

import (
	"context"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Options bounds a tree and says where its time comes from. Zero values are the
// defaults.
type Options struct {
	Owner    string // of the root
	Mode     uint32 // permission of the root; default 0775
	MaxBytes int64  // of all content together; default 64 MiB
	MaxFile  int64  // bytes of one file; default MaxBytes
	MaxFiles int    // files, directories and links together; default 65,536
	History  int    // changes that a watch can go back; default 8,192
	Watches  int    // at once; default 4,096
	Leases   int    // at once; default 4,096

	Now func() time.Time // default time.Now
	// After calls f once after d unless stop comes first; default time.AfterFunc.
	After func(d time.Duration, f func()) (stop func() bool)
}

func (o *Options) defaults() {
	def(&o.Mode, 0o775)
	def(&o.MaxBytes, 64<<20)
	def(&o.MaxFile, o.MaxBytes)
	def(&o.MaxFiles, 1<<16)
	def(&o.History, 8<<10)
	def(&o.Watches, 4<<10)
	def(&o.Leases, 4<<10)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
}

func def[T int | int64 | uint32](p *T, v T) {
	if *p == 0 {
		*p = v
	}
}

// FS is a tree in memory.
type FS struct {
	o    Options
	done chan struct{} // closed by Close; ends watches

	mu      sync.RWMutex
	closed  bool
	root    *node
	lastID  uint64
	files   int   // nodes that are in use
	bytes   int64 // of their content
	history history
	watches map[uint64]map[*watch]struct{} // by the watched node's id
	nwatch  int
	leases  map[string]*lease
	epochs  map[string]uint64 // latest epoch seen, by election
	replays replays
}

// New makes an empty tree.
func New(o Options) *FS {
	o.defaults()
	fs := &FS{
		o: o, done: make(chan struct{}),
		watches: make(map[uint64]map[*watch]struct{}), leases: make(map[string]*lease), epochs: make(map[string]uint64),
	}
	fs.history.version = uint64(o.Now().UnixMicro())
	fs.history.forgot = fs.history.version
	fs.history.limit = o.History
	fs.root = fs.newNodeLocked(tree.NewFile{Mode: tree.ModeDir | o.Mode&tree.ModePerm}, o.Owner)
	return fs
}

// Close ends watches and leases. The tree answers nothing any more.
func (fs *FS) Close() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return nil
	}
	fs.closed = true
	close(fs.done)
	for _, l := range fs.leases {
		l.stop()
	}
	clear(fs.leases)
	return nil
}

// Attach walks to aname as c.
func (fs *FS) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	if len(aname) > tree.MaxPath {
		return nil, api.E(api.TooLarge, "attach", "", "the path has %d bytes; the limit is %d", len(aname), tree.MaxPath)
	}
	if fence != nil {
		fence = &tree.Fence{Path: fence.Path, Epoch: fence.Epoch}
		if err := fs.sawTerm(*fence); err != nil {
			return nil, err
		}
	}
	var f tree.File = &file{fs: fs, n: fs.root, c: c, fence: fence}
	for name := range strings.SplitSeq(strings.Trim(aname, "/"), "/") {
		if name == "" {
			continue
		}
		var err error
		if f, err = f.Walk(ctx, name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

var errClosed = api.E(api.Unavailable, "file", "", "this tree is closed")
