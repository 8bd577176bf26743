package ux

import (
	"errors"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// beneath is how every name of a tenant is resolved.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// Ways to open. NONBLOCK: whatever lies there, opening it does not wait.
const (
	forReading  = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOATIME
	forHanding  = unix.O_RDONLY | unix.O_NOATIME
	forWriting  = unix.O_RDWR | unix.O_NONBLOCK
	forMaking   = forWriting | unix.O_CREAT | unix.O_EXCL
	asDirectory = unix.O_RDONLY | unix.O_DIRECTORY
	asPlace     = unix.O_PATH
)

// pathStep is less than PATH_MAX: longer paths are opened in steps.
const pathStep = 4000

// openBeneath opens path, shorter than PATH_MAX, below the directory dir.
func openBeneath(dir int, path string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW), Resolve: beneath}
	if flags&unix.O_CREAT != 0 {
		how.Mode = 0o600
	}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(dir, path, &how)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && try < 1000:
			// A rename raced with the walk, or sweep holds a lease for a moment.
			if runtime.Gosched(); try > 50 {
				time.Sleep(50 * time.Microsecond)
			}
		default:
			return fd, err
		}
	}
}

// openDeep is openBeneath for paths of any length.
func openDeep(dir int, path string, flags int) (int, error) {
	from := dir
	for len(path) > pathStep {
		i := strings.LastIndexByte(path[:pathStep], '/')
		next, err := openBeneath(from, path[:i], asPlace|unix.O_DIRECTORY)
		if from != dir {
			unix.Close(from)
		}
		if err != nil {
			return -1, err
		}
		from, path = next, path[i+1:]
	}
	fd, err := openBeneath(from, path, flags)
	if from != dir {
		unix.Close(from)
	}
	return fd, err
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func fstat(fd int) (st unix.Stat_t, err error) {
	err = retry(func() error { return unix.Fstat(fd, &st) })
	return st, err
}

// readAll reads p full, or to the end of the file.
func readAll(fd int, p []byte, off int64) (n int, err error) {
	for n < len(p) {
		m, err := unix.Pread(fd, p[n:], off+int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, err
		case m == 0:
			return n, nil
		default:
			n += m
		}
	}
	return n, nil
}

// writeAll writes all of p, or says how much of it.
func writeAll(fd int, p []byte, off int64) (n int, err error) {
	for n < len(p) {
		m, err := unix.Pwrite(fd, p[n:], off+int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, err
		case m == 0:
			return n, errors.New("the disk takes no more")
		default:
			n += m
		}
	}
	return n, nil
}

// setModified sets the time by descriptor; package unix would go through /proc.
func setModified(fd int, t time.Time) error {
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Unix(), Nsec: int64(t.Nanosecond())}}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// heldElsewhere reports whether the file behind fd is open in, or mapped by,
// any other open file: the kernel gives a write lease to the only one.
func heldElsewhere(fd int) bool {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return true
	}
	unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	return false
}
