package view

import (
	"container/list"
	"context"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// Source connects with the servers of a realm, as one caller. Places that it
// returns are shared; they are neither closed nor forgotten by a View. While a
// connection lives, the same place is returned for it.
type Source interface {
	// Root is the realm's root.
	Root(ctx context.Context) (*ninep.Fid, error)
	// Through is the root of what is served behind an endpoint link.
	Through(ctx context.Context, link tree.Attr) (*ninep.Fid, error)
	// Here reports whether a link's server is the one that ~local means.
	Here(link tree.Attr) bool
}

// Config of an FS. Zero durations are the defaults.
type Config struct {
	Source   Source
	Patience time.Duration // for a server behind a link to be reached; default 2 s
	Quiet    time.Duration // until one that serves no files is asked again; default 10 s
	Retry    time.Duration // until the realm's root is given up; default 6 s
	Places   int           // directories that keep a fid; default 8,192
}

// FS is a realm's name space as one tree.
type FS struct {
	cfg  Config
	root *region
	wg   sync.WaitGroup // attaching
	ctx  context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	closed  bool
	regions map[uint64]*region // behind links, by salt
	silent  map[string]time.Time
	recent  *list.List // of *File with a fid, latest first
}

const (
	maxRegions = 4096 // that are remembered
	maxSilent  = 4096
)

var _ tree.FS = (*FS)(nil)

// New makes a view. Close ends it.
func New(cfg Config) *FS {
	def(&cfg.Patience, 2*time.Second)
	def(&cfg.Quiet, 10*time.Second)
	def(&cfg.Retry, 6*time.Second)
	def(&cfg.Places, 8<<10)
	fs := &FS{cfg: cfg, regions: make(map[uint64]*region), silent: make(map[string]time.Time), recent: list.New()}
	fs.ctx, fs.stop = context.WithCancel(context.Background())
	fs.root = &region{fs: fs, served: true}
	return fs
}

func def[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

// Close ends what is under way to reach servers, and lets all places go. The
// Source's connections are the Source's.
func (fs *FS) Close() error {
	fs.mu.Lock()
	fs.closed = true
	fs.mu.Unlock()
	fs.stop()
	fs.wg.Wait()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for e := fs.recent.Front(); e != nil; e = e.Next() {
		e.Value.(*File).dropLocked()
	}
	fs.recent.Init()
	return nil
}

var errClosed = api.E(api.Unavailable, "file", "", "the view is closed")

// begin counts one more goroutine; its end is fs.wg's.
func (fs *FS) begin() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if !fs.closed {
		fs.wg.Add(1)
	}
	return !fs.closed
}

// Attach returns the directory or file at aname; symbolic links are not followed. The caller is the Source's, whoever c is.
func (fs *FS) Attach(ctx context.Context, _ api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	if fence != nil {
		return nil, api.E(api.Unsupported, "attach", aname, "writes under a fence go to the server itself")
	}
	if len(aname) > tree.MaxPath {
		return nil, api.E(api.TooLarge, "attach", "", "the path has %d bytes; the limit is %d", len(aname), tree.MaxPath)
	}
	var f tree.File = fs.Root()
	for name := range strings.SplitSeq(aname, "/") {
		if name == "" {
			continue
		}
		g, err := f.Walk(ctx, name)
		if err != nil {
			return nil, err
		}
		f = g
	}
	return f, nil
}

// Root is the realm's root.
func (fs *FS) Root() *File { return &File{fs: fs, kind: atRoot, region: fs.root, dir: true} }

// Kept is how many directories keep a fid.
func (fs *FS) Kept() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.recent.Len()
}
