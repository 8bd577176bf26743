package view

import (
	"context"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
)

// region is what one server serves, entered through one link.
type region struct {
	fs    *FS
	link  *tree.Attr // nil: the realm's root
	salt  uint64     // of file numbers
	depth int        // links on the way

	mu     sync.Mutex
	root   *ninep.Fid
	served bool // it has served files
	asking *asking
	failed error // the last one
	again  time.Time
}

// asking is an attach under way, for all who wait for it.
type asking struct {
	done chan struct{}
	root *ninep.Fid
	err  error
}

const failedTime = time.Second // until a server that was not reached is asked again

func lost(f *ninep.Fid) bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

// attach returns the root of the region's server over a connection that lives.
func (r *region) attach(ctx context.Context) (*ninep.Fid, error) {
	r.mu.Lock()
	if r.root != nil && !lost(r.root) {
		defer r.mu.Unlock()
		return r.root, nil
	}
	if r.link != nil && r.failed != nil && time.Now().Before(r.again) {
		defer r.mu.Unlock()
		return nil, r.failed
	}
	a := r.asking
	if a == nil {
		if !r.fs.begin() {
			defer r.mu.Unlock()
			return nil, errClosed
		}
		a = &asking{done: make(chan struct{})}
		r.asking = a
		go func() {
			defer r.fs.wg.Done()
			r.ask(a)
		}()
	}
	r.mu.Unlock()
	select {
	case <-a.done:
		return a.root, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask reaches the server. It does not end with the call that began it.
func (r *region) ask(a *asking) {
	ctx, cancel := context.WithTimeout(r.fs.ctx, r.fs.cfg.Patience)
	defer cancel()
	if r.link == nil {
		a.root, a.err = r.fs.cfg.Source.Root(ctx)
	} else {
		a.root, a.err = r.fs.cfg.Source.Through(ctx, *r.link)
	}
	if ctx.Err() != nil && a.err != nil {
		a.err = api.E(api.Unavailable, "open", "", "its server does not answer")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking = nil
	if r.failed = a.err; a.err == nil {
		r.root, r.served = a.root, true
	} else {
		r.again = time.Now().Add(failedTime)
	}
	close(a.done)
}

// known reports whether files were served here.
func (r *region) known() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.served
}

// own is the number in the view of a file of the region.
func (r *region) own(id uint64) uint64 { return id ^ r.salt }

func (r *region) show(a tree.Attr) tree.Attr {
	a.ID = r.own(a.ID)
	return a
}

// behind is the region behind a link that r has.
func (r *region) behind(link tree.Attr) (*region, error) {
	if r.depth+1 > resolve.MaxLinks {
		return nil, api.E(api.Loop, "open", "", "more than %d endpoint links on the way; do they lead in a circle?", resolve.MaxLinks)
	}
	salt := mix(r.salt, link.ID, link.Target)
	fs := r.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if b := fs.regions[salt]; b != nil {
		return b, nil
	}
	for s := range fs.regions { // those who use it go on; it is only forgotten
		if len(fs.regions) < maxRegions {
			break
		}
		delete(fs.regions, s)
	}
	// Links of σOS's own services lead to files, before any was seen.
	b := &region{fs: fs, link: &link, salt: salt, depth: r.depth + 1, served: strings.HasPrefix(link.Target, "svc:")}
	fs.regions[salt] = b
	return b, nil
}

// mix makes the salt of what is behind a link.
func mix(salt, id uint64, target string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(target))
	x := salt ^ h.Sum64() ^ (id + 0x9e3779b97f4a7c15)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
