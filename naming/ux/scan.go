package ux

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// visitor is told what a scan meets. Errors end the scan.
type visitor struct {
	file  func(dir int, name string, st *unix.Stat_t) error
	leave func(dir int, name string) error // a directory, after all that is in it
}

// level is one directory on the way from the root of a scan to where it is.
type level struct {
	name string
	ino  uint64
	subs []string // directories in it, not visited yet
}

// scan visits everything below the directory root, which nobody else changes
// meanwhile. It needs one descriptor and time for each entry, however deep a
// tenant has made the tree: it goes down by names and up by "..", and looks that
// it came where it was.
func scan(ctx context.Context, root int, v visitor) error {
	fd, err := openBeneath(root, ".", asDirectory)
	if err != nil {
		return err
	}
	defer func() { unix.Close(fd) }()
	levels := make([]level, 1, 16)
	if err := levels[0].read(ctx, fd, v); err != nil {
		return err
	}
	for {
		here := &levels[len(levels)-1]
		if n := len(here.subs); n > 0 {
			name := here.subs[n-1]
			here.subs = here.subs[:n-1]
			next, err := openBeneath(fd, name, asDirectory)
			if err == unix.EXDEV {
				continue // an operator mounted something there
			}
			if err != nil {
				return err
			}
			unix.Close(fd)
			fd = next
			levels = append(levels, level{name: name})
			if err := levels[len(levels)-1].read(ctx, fd, v); err != nil {
				return err
			}
			continue
		}
		if len(levels) == 1 {
			return nil
		}
		left := here.name
		levels = levels[:len(levels)-1]
		up, err := unix.Openat(fd, "..", asDirectory|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		unix.Close(fd)
		fd = up
		if st, err := fstat(fd); err != nil || st.Ino != levels[len(levels)-1].ino {
			return fmt.Errorf("the directory above %q has changed: %v", left, err)
		}
		if err := v.leave(fd, left); err != nil {
			return err
		}
	}
}

// read visits what is directly in the directory fd.
func (l *level) read(ctx context.Context, fd int, v visitor) error {
	st, err := fstat(fd)
	if err != nil {
		return err
	}
	l.ino = st.Ino
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	for i, name := range names {
		if i%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var st unix.Stat_t
		err := retry(func() error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			l.subs = append(l.subs, name)
			continue
		}
		if err == nil {
			err = v.file(fd, name, &st)
		}
		if err != nil && err != unix.ENOENT {
			return err
		}
	}
	return ctx.Err()
}

// readNames returns the names in an open directory, in no order.
func readNames(fd int) (names []string, err error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	for {
		var n int
		err := retry(func() (err error) { n, err = unix.ReadDirent(fd, buf); return err })
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// count is what a tree uses.
func count(ctx context.Context, tree int) (used Quota, err error) {
	err = scan(ctx, tree, visitor{
		file: func(_ int, _ string, st *unix.Stat_t) error {
			used.Inodes++
			if st.Mode&unix.S_IFMT == unix.S_IFREG {
				used.Bytes += charge(st.Size)
			}
			return nil
		},
		leave: func(int, string) error { used.Inodes++; return nil },
	})
	return used, err
}

// emptyDir removes everything below dir.
func emptyDir(ctx context.Context, dir int) error {
	return scan(ctx, dir, visitor{
		file:  func(dir int, name string, _ *unix.Stat_t) error { return unix.Unlinkat(dir, name, 0) },
		leave: func(dir int, name string) error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) },
	})
}
