package fusemount

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"sigmaos/naming/view"
)

const (
	ttl   = time.Second      // of entries and attributes in the kernel
	grace = 2 * time.Second  // between a signal to the waiting program and EINTR
	short = 10 * time.Second // in which a request is answered
	long  = 30 * time.Second // the same, for content
)

// server answers the kernel's requests.
type server struct {
	fuse.RawFileSystem // what is not here is ENOSYS, and not asked again

	fs    *view.FS
	point string // the mount point
	uid   uint32
	gid   uint32
	log   *slog.Logger
	conn  *fuse.Server // for notices; set by Init

	ctx    context.Context // of all requests
	stop   context.CancelFunc
	wg     sync.WaitGroup // pieces on their way
	room   chan struct{}  // has place for those of all files
	writes atomic.Uint64  // pieces that have arrived
	nopass atomic.Bool    // this kernel or user has no passthrough

	mu       sync.Mutex
	last     uint64           // the number of a node or handle that was given out
	nodes    map[uint64]*node // by the kernel's number
	byNumber map[uint64]*node // by the file's number
	handles  map[uint64]*handle
	dirs     map[uint64]*listing
}

func newServer(fs *view.FS, point string, log *slog.Logger) *server {
	s := &server{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), fs: fs, point: point, log: log,
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		room:  make(chan struct{}, maxPieces),
		nodes: make(map[uint64]*node), byNumber: make(map[uint64]*node), handles: make(map[uint64]*handle), dirs: make(map[uint64]*listing),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.last = fuse.FUSE_ROOT_ID
	s.nodes[fuse.FUSE_ROOT_ID] = &node{id: fuse.FUSE_ROOT_ID, file: fs.Root(), lookups: 1}
	return s
}

func (s *server) String() string             { return fsType }
func (s *server) Init(conn *fuse.Server)     { s.conn = conn }
func (s *server) node(id uint64) *node       { s.mu.Lock(); defer s.mu.Unlock(); return s.nodes[id] }
func (s *server) handle(fh uint64) *handle   { s.mu.Lock(); defer s.mu.Unlock(); return s.handles[fh] }
func (s *server) listing(fh uint64) *listing { s.mu.Lock(); defer s.mu.Unlock(); return s.dirs[fh] }

// flush sends what programs wrote on its way, also of those that are cut off.
func (s *server) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), short)
	defer cancel()
	for _, h := range s.open() {
		if err := s.settled(ctx, h); err != nil {
			s.log.Warn("not all that was written has arrived", "err", err)
		}
	}
}

// used reports whether programs have something open.
func (s *server) used() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.handles)+len(s.dirs) > 0
}

func (s *server) open() (list []*handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.handles {
		list = append(list, h)
	}
	return list
}

// close ends what is left after the kernel's last request.
func (s *server) close() {
	s.flush()
	for _, h := range s.open() {
		h.file.Close()
	}
	s.stop()
	s.wg.Wait()
}

// begin bounds one request; the function must be called at its end.
func (s *server) begin(cancel <-chan struct{}, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeout(s.ctx, d)
	if cancel != nil {
		go func() {
			select {
			case <-cancel:
			case <-ctx.Done():
				return
			}
			select {
			case <-time.After(grace):
				stop()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, stop
}
