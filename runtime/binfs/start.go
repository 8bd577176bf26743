package binfs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A start meets no READ. The kernel takes pages only for a file that it knows,
// which is after its look-up was answered; and exec would read at once. So the
// look-up is answered with attributes that hold for no time: exec, before it
// reads, asks for them again (to see whether it may), and waits for the answer.
// It gets it when what the start touches is in the page cache, with attributes that
// hold for ever. No page of the file has a READ outstanding meanwhile, for nobody
// has opened it: opening asks the same.

// pageCache is the kernel's: a fuse.Server.
type pageCache interface {
	InodeNotifyStoreCache(inode uint64, off int64, data []byte) fuse.Status
}

// fill puts what the start of n touches into the page cache, once. An error is
// the start's, and the next one tries again.
func (f *fileSystem) fill(n *node) error {
	n.filling.Lock()
	defer n.filling.Unlock()
	if n.filled.Load() {
		return nil
	}
	buf := make([]byte, ChunkSize)
	for _, i := range n.first {
		b, err := f.src.Chunk(context.Background(), n.realm, n.digest, n.tree, int(i), buf)
		if err != nil {
			return err
		}
		if st := f.pages.InodeNotifyStoreCache(n.id, int64(i)*ChunkSize, b); !st.Ok() {
			// The kernel is short of memory, or too old: it will read.
			f.log.Warn("the page cache takes nothing ahead", "digest", n.digest, "err", st)
			break
		}
		f.stored.Add(1)
	}
	n.filled.Store(true)
	return nil
}
