package ux

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// listings keeps the sorted names of directories whose reading has begun, so
// that each page of a large one does not read it anew. A listing is good for
// one version of its directory.
type listings struct {
	mu    sync.Mutex
	lists []listing // used last at the end
	bytes int
}

type listing struct {
	dir, version uint64
	names        []string
	bytes        int
}

const listingBytes = 64 << 20 // of a realm; the names of a full realm's one directory

func (l *listings) get(dir, version uint64) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.lists {
		if e.dir == dir && e.version == version {
			l.lists = append(slices.Delete(l.lists, i, i+1), e)
			return e.names
		}
	}
	return nil
}

func (l *listings) put(dir, version uint64, names []string) {
	e := listing{dir: dir, version: version, names: names, bytes: 16 * len(names)}
	for _, n := range names {
		e.bytes += len(n)
	}
	l.drop(dir)
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.lists) > 0 && (l.bytes+e.bytes > listingBytes || len(l.lists) >= 16) {
		l.bytes -= l.lists[0].bytes
		l.lists = slices.Delete(l.lists, 0, 1)
	}
	if e.bytes <= listingBytes {
		l.lists = append(l.lists, e)
		l.bytes += e.bytes
	}
}

// drop forgets a directory: it was read to its end.
func (l *listings) drop(dir uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lists = slices.DeleteFunc(l.lists, func(e listing) bool {
		if e.dir == dir {
			l.bytes -= e.bytes
		}
		return e.dir == dir
	})
}

// ReadDir lists what is there. An entry that is there all the time is listed,
// whatever comes and goes.
func (f *file) ReadDir(ctx context.Context, after string, max int) ([]tree.Dirent, error) {
	if max <= 0 {
		return nil, api.E(api.Invalid, "readdir", f.name, "a page of %d entries", max)
	}
	max = min(max, tree.MaxPage)
	fd, err := f.openDir()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	m := f.n.meta.Load()
	names := f.r.lists.get(m.id, m.version)
	cached := names != nil
	if !cached {
		if names, err = readNames(fd); err != nil {
			return nil, f.r.s.fail("readdir", f.name, err)
		}
		slices.Sort(names)
	}
	i, found := slices.BinarySearch(names, after)
	if found {
		i++
	}
	var out []tree.Dirent
	for ; i < len(names) && len(out) < max; i++ {
		if d, ok := f.dirent(fd, names[i]); ok {
			out = append(out, d)
		}
		if len(out)%256 == 0 && ctx.Err() != nil {
			return nil, api.AsError("readdir", ctx.Err())
		}
	}
	switch {
	case i == len(names):
		f.r.lists.drop(m.id)
	case !cached && f.n.meta.Load().version == m.version: // nothing came or went while it was read
		f.r.lists.put(m.id, m.version, names)
	}
	return out, nil
}

// openDir opens the directory for reading.
func (f *file) openDir() (int, error) {
	if err := f.r.enter(); err != nil {
		return -1, err
	}
	defer f.r.leave()
	if err := f.dir("readdir", tree.MayRead); err != nil {
		return -1, err
	}
	fd, err := f.n.open(asDirectory)
	if err != nil {
		return -1, f.r.s.fail("readdir", f.name, err)
	}
	return fd, nil
}

// dirent describes an entry of the directory open as fd; not ok: it is gone, or
// nothing of ours.
func (f *file) dirent(fd int, name string) (tree.Dirent, bool) {
	f.r.tab.Lock()
	n := f.n.known(name)
	f.r.tab.Unlock()
	if n == nil {
		if m, err := peek(fd, name); err == nil && m != nil {
			return tree.Dirent{Name: name, ID: m.id, Mode: m.mode}, true
		}
		// It has to be settled first, or is not there.
		if n = f.settled(name); n == nil {
			return tree.Dirent{}, false
		}
	}
	m := n.meta.Load()
	return tree.Dirent{Name: name, ID: m.id, Mode: m.mode}, true
}

func peek(dir int, name string) (*meta, error) {
	fd, err := openBeneath(dir, name, forReading)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readMeta(fd)
}

func (f *file) settled(name string) *node {
	if f.r.enter() != nil {
		return nil
	}
	defer f.r.leave()
	if f.here("readdir") != nil {
		return nil
	}
	n, err := f.r.lookup("readdir", f.n, name)
	if err != nil {
		return nil
	}
	return n
}
