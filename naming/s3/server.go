package s3

import (
	"context"
	"strings"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Server serves the buckets of all realms of a node.
type Server struct {
	cfg Config
	ctx context.Context // ends with the server; uploads that nobody waits for end with it

	stop context.CancelFunc
	wg   sync.WaitGroup // what cleans up behind broken writes

	mu     sync.Mutex
	closed bool
	realms map[string]*realm
}

// New makes a server; the caller closes it.
func New(cfg Config) *Server {
	cfg.defaults()
	s := &Server{cfg: cfg, realms: make(map[string]*realm)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Close ends all requests and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	list := s.realms
	s.realms = nil
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
	for _, r := range list {
		r.close()
	}
	return nil
}

// FS is the tree of whoever attaches.
func (s *Server) FS() tree.FS { return view{s} }

type view struct{ s *Server }

func (v view) Attach(ctx context.Context, c api.Caller, aname string, _ *tree.Fence) (tree.File, error) {
	if len(aname) > tree.MaxPath {
		return nil, api.E(api.TooLarge, "attach", "", "the path has %d bytes; the limit is %d", len(aname), tree.MaxPath)
	}
	r, err := v.s.realm(c.Realm)
	if err != nil {
		return nil, err
	}
	var f tree.File = &file{r: r}
	for name := range strings.SplitSeq(strings.Trim(aname, "/"), "/") {
		if name == "" {
			continue
		}
		if f, err = f.Walk(ctx, name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (s *Server) realm(id string) (*realm, error) {
	if id == "" {
		return nil, api.E(api.Invalid, "attach", "", "no realm is chosen")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	r := s.realms[id]
	if r == nil {
		r = newRealm(s, id)
		s.realms[id] = r
	}
	return r, nil
}

// Forget drops what is kept for a realm that was removed; its open files fail.
func (s *Server) Forget(id string) {
	s.mu.Lock()
	r := s.realms[id]
	delete(s.realms, id)
	s.mu.Unlock()
	if r != nil {
		r.close()
	}
}

var errClosed = api.E(api.Unavailable, "s3", "", "this node's way to the stores is closed")
