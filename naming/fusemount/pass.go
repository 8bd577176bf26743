package fusemount

import (
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// backing is a file of this machine's disk that the kernel reads itself. A file
// of the mount has one at a time.
type backing struct {
	id       int32
	dev, ino uint64
	users    int // handles
}

// is reports whether f is the same file. It is not when a file of the mount was
// replaced by another on the disk (Put).
func (b *backing) is(f *os.File) bool {
	dev, ino, ok := identity(f)
	return ok && dev == b.dev && ino == b.ino
}

func identity(f *os.File) (dev, ino uint64, ok bool) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Dev, st.Ino, err == nil
}

// passLocked makes h's own file the backing of n; false: it cannot be.
func (s *server) passLocked(n *node, h *handle) bool {
	if s.conn == nil || s.nopass.Load() {
		return false
	}
	dev, ino, ok := identity(h.local)
	if !ok {
		return false
	}
	id, errno := s.conn.RegisterBackingFd(&fuse.BackingMap{Fd: int32(h.local.Fd())})
	if errno != 0 { // an old kernel, or the user is not root
		s.nopass.Store(true)
		return false
	}
	n.backing = &backing{id: id, dev: dev, ino: ino, users: 1}
	h.passes = true
	return true
}

// passedLocked ends the use of a handle.
func (s *server) passedLocked(n *node) {
	b := n.backing
	if b.users--; b.users > 0 {
		return
	}
	n.backing = nil
	s.conn.UnregisterBackingFd(b.id)
}
