package binfs

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// disk takes a realm's turn to write.
func (c *cache) disk(realm string) *sync.Mutex {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.kept[realm]
	if m == nil {
		m = new(sync.Mutex)
		c.kept[realm] = m
	}
	return m
}

// keepTree makes the place for a program's chunks, as long as its realm is there.
func (c *cache) keepTree(realm string, d Digest, t Tree, p Profile) error {
	path := c.cachePath(realm, d)
	return c.write(realm, path, func() error {
		switch err := os.Mkdir(filepath.Dir(path), 0o700); {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case err != nil && !errors.Is(err, os.ErrExist):
			return err
		}
		if len(p) > 0 {
			if err := c.saveProfile(realm, d, p); err != nil {
				return err
			}
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Truncate(t.Size); err != nil {
			return err
		}
		return replace(path+".tree", t.Marshal())
	})
}

func (c *cache) keep(realm string, d Digest, list []uint32, parts [][]byte) error {
	path := c.cachePath(realm, d)
	err := c.write(realm, path, func() error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil // its realm or its turn in the cache is over
		}
		if err != nil {
			return err
		}
		defer f.Close()
		for n, i := range list {
			if _, err := f.WriteAt(parts[n], int64(i)*ChunkSize); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = evict(filepath.Dir(path), c.quota, path)
	}
	return err
}

// write does one realm's writing. On a full disk half of the realm's cache goes,
// but not the program that is written: what is fetched now is worth more, and the
// disk has other users.
func (c *cache) write(realm, path string, fn func() error) error {
	m := c.disk(realm)
	m.Lock()
	defer m.Unlock()
	err := fn()
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	list, used, lerr := programsIn(filepath.Dir(path))
	if lerr != nil || used == 0 {
		return err
	}
	most := max(1, used/2)
	for _, f := range list {
		if f.path == path {
			most = max(most, f.bytes) // it stays
		}
	}
	if eerr := evict(filepath.Dir(path), most, path); eerr != nil {
		return errors.Join(err, eerr)
	}
	return fn()
}

// notKept logs, once for each program, that the disk does not keep all of it.
func (c *cache) notKept(realm string, d Digest, err error) {
	c.note(realm, d, func(x *Cold) {
		if !x.lost {
			c.log.Warn("a program from elsewhere is not kept on disk", "realm", realm, "digest", d, "err", err)
		}
		x.lost = true
	})
}
