package binfs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// forever is for entries and attributes: content never changes under a digest.
const forever = 365 * 24 * time.Hour

const rootID = fuse.FUSE_ROOT_ID

// fileSystem serves /REALM/DIGEST. Nodes live as long as the mount: there are
// as many as programs were started.
type fileSystem struct {
	fuse.RawFileSystem
	src   Source
	pages pageCache // nil: starts read
	log   *slog.Logger

	lookups, attrs, opens, reads, stored atomic.Int64
	saveProfile                          func(realm string, d Digest, p Profile) error // nil: starts are not recorded

	mu    sync.Mutex
	ids   map[nodeKey]uint64
	nodes map[uint64]*node
}

type nodeKey struct{ realm, digest string }

type node struct {
	id     uint64
	realm  string
	digest Digest // "" is the realm's folder
	tree   Tree
	first  Profile // what a start touches

	filling sync.Mutex
	filled  atomic.Bool // first is in the page cache

	mu      sync.Mutex
	touched map[uint32]bool // chunks of the first start, until its profile is written
}

func newFileSystem(src Source, log *slog.Logger) *fileSystem {
	return &fileSystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), src: src, log: log,
		ids: make(map[nodeKey]uint64), nodes: make(map[uint64]*node),
	}
}

func (f *fileSystem) String() string { return "binfs" }

// get returns the node of a key, made by the first who asks.
func (f *fileSystem) get(k nodeKey, make func() (*node, error)) (*node, error) {
	f.mu.Lock()
	id, ok := f.ids[k]
	n := f.nodes[id]
	f.mu.Unlock()
	if ok {
		return n, nil
	}
	n, err := make()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if id, ok := f.ids[k]; ok {
		return f.nodes[id], nil
	}
	n.id = rootID + 1 + uint64(len(f.nodes))
	f.ids[k], f.nodes[n.id] = n.id, n
	return n, nil
}

func (f *fileSystem) node(id uint64) *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[id]
}

// Lookup knows realms and digests only; what is missing is asked for again,
// for it may be uploaded.
func (f *fileSystem) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	f.lookups.Add(1)
	var n *node
	var err error
	if h.NodeId == rootID {
		if !realmRule.MatchString(name) {
			return fuse.ENOENT
		}
		n, err = f.get(nodeKey{realm: name}, func() (*node, error) { return &node{realm: name}, nil })
	} else {
		dir := f.node(h.NodeId)
		d, derr := ParseDigest(name)
		if dir == nil || dir.digest != "" || derr != nil {
			return fuse.ENOENT
		}
		n, err = f.get(nodeKey{dir.realm, name}, func() (*node, error) {
			t, p, err := f.src.Tree(context.Background(), dir.realm, d)
			n := &node{realm: dir.realm, digest: d, tree: t, first: p}
			if err == nil {
				f.record(n)
			}
			n.filled.Store(f.pages == nil || len(p) == 0)
			return n, err
		})
	}
	if err != nil {
		if !isNotExist(err) {
			f.log.Warn("program is not usable", "err", err)
			return fuse.EIO
		}
		return fuse.ENOENT
	}
	out.NodeId, out.Generation = n.id, 1
	out.SetEntryTimeout(forever)
	if n.digest == "" || n.filled.Load() {
		out.SetAttrTimeout(forever)
	}
	n.attr(&out.Attr)
	return fuse.OK
}

func (n *node) attr(a *fuse.Attr) {
	a.Ino = n.id
	a.Nlink = 1
	a.Blksize = 4096
	if n.digest == "" {
		a.Mode = syscall.S_IFDIR | 0o111 // to pass through, not to list
		return
	}
	a.Mode = syscall.S_IFREG | 0o555
	a.Size = uint64(n.tree.Size)
	a.Blocks = (a.Size + 511) / 512
}

// GetAttr of a program is what its first start waits for.
func (f *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.attrs.Add(1)
	out.SetTimeout(forever)
	if in.NodeId == rootID {
		out.Attr.Ino, out.Attr.Mode, out.Attr.Nlink = rootID, syscall.S_IFDIR|0o111, 1
		return fuse.OK
	}
	n := f.node(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	if n.digest != "" {
		if err := f.fill(n); err != nil {
			f.log.Error("program cannot be had", "realm", n.realm, "digest", n.digest, "err", err)
			return fuse.EIO
		}
	}
	n.attr(&out.Attr)
	return fuse.OK
}

// Open answers ENOSYS: the kernel then opens without asking, for the whole
// mount, and keeps the pages it has.
func (f *fileSystem) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	f.opens.Add(1)
	return fuse.ENOSYS
}

// OpenDir refuses: folders are not listed.
func (f *fileSystem) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	return fuse.EACCES
}

func (f *fileSystem) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

// Read gives the kernel verified bytes only.
func (f *fileSystem) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f.reads.Add(1)
	n := f.node(in.NodeId)
	if n == nil || n.digest == "" {
		return nil, fuse.ENOENT
	}
	end := min(int64(in.Offset)+int64(in.Size), n.tree.Size)
	out := buf[:0]
	chunk := make([]byte, ChunkSize)
	if a, ok := f.src.(ahead); ok && end > int64(in.Offset) {
		a.ahead(n.realm, n.digest, n.tree, int(in.Offset/ChunkSize), int((end-1)/ChunkSize))
	}
	for off := int64(in.Offset); off < end; {
		i := int(off / ChunkSize)
		n.touch(uint32(i))
		b, err := f.src.Chunk(context.Background(), n.realm, n.digest, n.tree, i, chunk)
		if err != nil {
			f.log.Error("program cannot be read", "realm", n.realm, "digest", n.digest, "err", err)
			return nil, fuse.EIO
		}
		from := off - int64(i)*ChunkSize
		to := min(int64(len(b)), end-int64(i)*ChunkSize)
		out = append(out, b[from:to]...)
		off = int64(i)*ChunkSize + to
	}
	return fuse.ReadResultData(out), fuse.OK
}

func (f *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	out.Bsize, out.NameLen = 4096, 255
	return fuse.OK
}

func (f *fileSystem) stats() Stats {
	return Stats{Lookups: f.lookups.Load(), Attrs: f.attrs.Load(), Opens: f.opens.Load(), Reads: f.reads.Load(), Stored: f.stored.Load()}
}
