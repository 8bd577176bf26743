package posixtest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func testCreate(e *env) {
	e.write(e.path("f"), "hello")
	e.has(e.path("f"), "hello")
	st, err := os.Stat(e.path("f"))
	e.ok(err, "stat")
	sys := st.Sys().(*syscall.Stat_t)
	if !st.Mode().IsRegular() || st.Size() != 5 || sys.Uid != uint32(os.Getuid()) || sys.Gid != uint32(os.Getgid()) || sys.Nlink != 1 {
		e.Errorf("a new file is %v, %d bytes, of %d:%d with %d names", st.Mode(), st.Size(), sys.Uid, sys.Gid, sys.Nlink)
	}
	_, err = os.OpenFile(e.path("f"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	e.is(err, "exclusive create of what is there", syscall.EEXIST)
	_, err = os.OpenFile(e.path("none/f"), os.O_CREATE|os.O_WRONLY, 0o644)
	e.is(err, "create in no directory", syscall.ENOENT)
	_, err = os.OpenFile(e.path("f/f"), os.O_CREATE|os.O_WRONLY, 0o644)
	e.is(err, "create in a file", syscall.ENOTDIR)
	_, err = os.OpenFile(e.dir, os.O_WRONLY, 0)
	e.is(err, "open of a directory for writing", syscall.EISDIR)
	f, err := os.OpenFile(e.path("f"), os.O_CREATE|os.O_RDWR, 0o600)
	e.ok(err, "open with O_CREAT of what is there")
	e.readAt(f, 0, "hello")
	f.Close()
	// One that may only be read can be filled by whoever makes it: git does that.
	f, err = os.OpenFile(e.path("ro"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	e.ok(err, "create of a file that is read-only")
	_, err = f.WriteString("filled")
	e.ok(err, "write to it")
	e.ok(f.Close(), "close")
	e.has(e.path("ro"), "filled")
	if st, _ := os.Stat(e.path("ro")); st.Mode().Perm() != 0o444 {
		e.Errorf("it has mode %v", st.Mode())
	}
}

// Of all who create one name exclusively, on two mounts, one succeeds.
func testExclusiveRace(e *env) {
	for round := range 10 {
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			dir := e.path
			if i%2 == 1 {
				dir = e.there
			}
			wg.Go(func() {
				f, err := os.OpenFile(dir(fmt.Sprint("race", round)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
				if err == nil {
					won.Add(1)
					f.Close()
				} else {
					e.is(err, "a lost race", syscall.EEXIST)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			e.Errorf("round %d: %d of 8 exclusive creates succeeded", round, won.Load())
		}
	}
}

func testOpenModes(e *env) {
	e.write(e.path("f"), "0123456789")
	r, w := e.open(e.path("f"), os.O_RDONLY), e.open(e.path("f"), os.O_WRONLY)
	_, err := r.WriteString("x")
	e.is(err, "write to a file open for reading", syscall.EBADF)
	_, err = w.Read(make([]byte, 1))
	e.is(err, "read of a file open for writing", syscall.EBADF)
	_, err = w.WriteAt([]byte("abc"), 3)
	e.ok(err, "write in the middle")
	e.readAt(r, 0, "012abc6789")
	e.open(e.path("f"), os.O_WRONLY|os.O_TRUNC)
	e.readAt(r, 0, "")
	e.has(e.path("f"), "")
}

func testModes(e *env) {
	e.ok(os.WriteFile(e.path("f"), nil, 0o640), "create")
	for _, mode := range []os.FileMode{0o600, 0o755, 0o444, 0o640} {
		e.ok(os.Chmod(e.path("f"), mode), "chmod")
		if st, err := os.Stat(e.path("f")); err != nil || st.Mode().Perm() != mode {
			e.Errorf("after chmod %v it has %v (%v)", mode, st.Mode(), err)
		}
	}
	e.ok(os.Chown(e.path("f"), os.Getuid(), os.Getgid()), "chown to its owner")
	e.ok(os.Chown(e.path("f"), 12345, 12345), "chown to somebody")
	if st, _ := os.Stat(e.path("f")); st.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		e.Error("chown gave it away")
	}
	old := syscall.Umask(0o027)
	f, err := os.OpenFile(e.path("masked"), os.O_CREATE|os.O_WRONLY, 0o666)
	syscall.Umask(old)
	e.ok(err, "create")
	f.Close()
	if st, _ := os.Stat(e.path("masked")); st.Mode().Perm() != 0o640 {
		e.Errorf("with umask 027 a file made with 0666 has %v", st.Mode())
	}
	e.ok(os.Chmod(e.path("f"), 0o644), "chmod")
	e.is(unix.Access(e.path("f"), unix.X_OK), "access(X_OK) of a file that is no program", syscall.EACCES)
	e.ok(unix.Access(e.path("f"), unix.R_OK|unix.W_OK), "access")
}

func testTimes(e *env) {
	e.write(e.path("f"), "x")
	if st, _ := os.Stat(e.path("f")); time.Since(st.ModTime()).Abs() > time.Minute {
		e.Errorf("a new file is of %v", st.ModTime())
	}
	want := time.Unix(1_000_000_000, 123456789)
	e.ok(os.Chtimes(e.path("f"), want, want), "utimes")
	st, err := os.Stat(e.path("f"))
	if err != nil || st.ModTime().Sub(want).Abs() > time.Microsecond {
		e.Errorf("after utimes it is of %v (%v), want %v", st.ModTime(), err, want)
	}
	e.write(e.path("f"), "y")
	if st, _ := os.Stat(e.path("f")); !st.ModTime().After(want) {
		e.Errorf("after a write it is of %v", st.ModTime())
	}
}

func testUnlinkWhileOpen(e *env) {
	e.write(e.path("f"), "before")
	f := e.open(e.path("f"), os.O_RDWR)
	e.ok(os.Remove(e.path("f")), "unlink")
	_, err := os.Stat(e.path("f"))
	e.is(err, "stat of the name", syscall.ENOENT)
	e.readAt(f, 0, "before")
	_, err = f.WriteAt([]byte("behind"), 6)
	e.ok(err, "write to an unlinked file")
	e.readAt(f, 0, "beforebehind")
	st, err := f.Stat()
	if err != nil || st.Size() != 12 || st.Sys().(*syscall.Stat_t).Nlink != 0 {
		e.Errorf("fstat of an unlinked file: %+v, %v; want 12 bytes and no name", st, err)
	}
	e.ok(f.Truncate(3), "ftruncate of an unlinked file")
	e.readAt(f, 0, "bef")
	e.ok(f.Chmod(0o600), "fchmod of an unlinked file")
	e.write(e.path("f"), "another")
	e.readAt(f, 0, "bef")
	e.ok(f.Close(), "close")
	e.has(e.path("f"), "another")
}

// What several clients append at the same time is all there, and whole.
func testAppend(e *env) {
	const clients, each = 6, 40
	e.write(e.path("log"), "")
	var wg sync.WaitGroup
	for c := range clients {
		dir := e.path
		if c%2 == 1 {
			dir = e.there
		}
		f := e.open(dir("log"), os.O_WRONLY|os.O_APPEND)
		wg.Go(func() {
			for i := range each {
				line := fmt.Sprintf("%d-%03d-%s\n", c, i, strings.Repeat(fmt.Sprint(c), 20+i))
				if n, err := f.WriteString(line); err != nil || n != len(line) {
					e.Errorf("append: %d, %v", n, err)
				}
			}
			e.ok(f.Close(), "close")
		})
	}
	wg.Wait()
	got, err := os.ReadFile(e.path("log"))
	e.ok(err, "read")
	next := make(map[int]int)
	lines := strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
	for _, l := range lines {
		var c, i int
		var rest string
		fmt.Sscanf(l, "%d-%d-%s", &c, &i, &rest)
		if i != next[c] || rest != strings.Repeat(fmt.Sprint(c), 20+i) {
			e.Fatalf("the line %q is not what client %d wrote as its number %d", l, c, next[c])
		}
		next[c]++
	}
	if len(lines) != clients*each {
		e.Errorf("%d lines, want %d", len(lines), clients*each)
	}
}

func testTruncate(e *env) {
	e.write(e.path("f"), "0123456789")
	e.ok(os.Truncate(e.path("f"), 4), "truncate")
	e.has(e.path("f"), "0123")
	e.ok(os.Truncate(e.path("f"), 6), "truncate to more")
	e.has(e.path("f"), "0123\x00\x00")
	f := e.open(e.path("f"), os.O_RDWR)
	_, err := f.WriteAt([]byte("abcdefgh"), 0)
	e.ok(err, "write")
	e.ok(f.Truncate(2), "ftruncate right behind a write")
	e.readAt(f, 0, "ab")
	if st, err := f.Stat(); err != nil || st.Size() != 2 {
		e.Errorf("fstat: %v %v, want 2 bytes", st, err)
	}
	e.ok(f.Close(), "close")
	e.has(e.path("f"), "ab")
	e.is(os.Truncate(e.dir, 0), "truncate of a directory", syscall.EISDIR)
}

func testHoles(e *env) {
	f := e.open(e.path("f"), os.O_RDWR|os.O_CREATE)
	const off = 100_000
	_, err := f.WriteAt([]byte("end"), off)
	e.ok(err, "write behind the end")
	e.readAt(f, off-3, "\x00\x00\x00end")
	e.readAt(f, 0, "\x00\x00\x00")
	if st, _ := f.Stat(); st.Size() != off+3 {
		e.Errorf("it has %d bytes, want %d", st.Size(), off+3)
	}
	if at, err := f.Seek(-3, 2); err != nil || at != off {
		e.Errorf("seek from the end: %d %v", at, err)
	}
}

func testSync(e *env) {
	f := e.open(e.path("f"), os.O_RDWR|os.O_CREATE)
	f.WriteString("x")
	e.ok(f.Sync(), "fsync")
	e.ok(unix.Fdatasync(int(f.Fd())), "fdatasync")
	d := e.open(e.dir, os.O_RDONLY)
	e.ok(d.Sync(), "fsync of a directory")
	s := e.open(e.path("s"), os.O_WRONLY|os.O_CREATE|os.O_SYNC)
	_, err := s.WriteString("synced")
	e.ok(err, "write with O_SYNC")
	e.has(e.there("s"), "synced")
	d2 := e.open(e.path("f"), os.O_RDWR|syscall.O_DIRECT)
	_, err = d2.WriteAt(make([]byte, 4096), 0)
	e.ok(err, "write with O_DIRECT")
}

func testLocks(e *env) {
	a, b := e.open(e.path("f"), os.O_RDWR|os.O_CREATE), e.open(e.path("f"), os.O_RDWR)
	e.ok(unix.Flock(int(a.Fd()), unix.LOCK_EX|unix.LOCK_NB), "flock")
	e.is(unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB), "flock of what is locked", syscall.EWOULDBLOCK)
	e.ok(unix.Flock(int(a.Fd()), unix.LOCK_UN), "unlock")
	e.ok(unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB), "flock after unlock")
	e.ok(unix.FcntlFlock(a.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: 10}), "fcntl lock")
}

func testStatfs(e *env) {
	var st unix.Statfs_t
	e.ok(unix.Statfs(e.dir, &st), "statfs")
	if st.Blocks == 0 || st.Bavail == 0 || st.Bavail > st.Blocks || st.Namelen != 255 {
		e.Errorf("statfs gives %+v", st)
	}
}
