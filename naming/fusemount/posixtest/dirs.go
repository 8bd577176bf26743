package posixtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

func testRenameOver(e *env) {
	e.write(e.path("a"), "a")
	e.write(e.path("b"), "b")
	old := e.open(e.path("b"), os.O_RDONLY)
	e.ok(os.Rename(e.path("a"), e.path("b")), "rename over")
	e.has(e.path("b"), "a")
	e.readAt(old, 0, "b")
	_, err := os.Stat(e.path("a"))
	e.is(err, "the old name", syscall.ENOENT)
	// An editor's way of saving, seen whole by a reader at any time.
	e.write(e.path("doc"), strings.Repeat("0", 1000))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			b, err := os.ReadFile(e.there("doc"))
			if err != nil || len(b) != 1000 || strings.Trim(string(b), string(b[:1])) != "" {
				e.Errorf("a reader finds %s (%v)", short(b), err)
				return
			}
		}
	})
	for i := range 30 {
		e.write(e.path("doc.tmp"), strings.Repeat(fmt.Sprint(i%10), 1000))
		e.ok(os.Rename(e.path("doc.tmp"), e.path("doc")), "rename over")
	}
	close(stop)
	wg.Wait()
	e.has(e.path("doc"), strings.Repeat("9", 1000))
}

func testRenameErrors(e *env) {
	e.ok(os.MkdirAll(e.path("d/in"), 0o755), "mkdir")
	e.ok(os.Mkdir(e.path("empty"), 0o755), "mkdir")
	e.write(e.path("f"), "f")
	for _, c := range []struct {
		what, from, to string
		want           []syscall.Errno
	}{
		{"of nothing", "none", "x", []syscall.Errno{syscall.ENOENT}},
		{"into itself", "d", "d/in/x", []syscall.Errno{syscall.EINVAL}},
		{"over a directory that is not empty", "empty", "d", []syscall.Errno{syscall.ENOTEMPTY, syscall.EEXIST}},
		{"of a file over a directory", "f", "empty", []syscall.Errno{syscall.EISDIR}},
		{"of a directory over a file", "empty", "f", []syscall.Errno{syscall.ENOTDIR}},
	} {
		e.is(unix.Rename(e.path(c.from), e.path(c.to)), "rename "+c.what, c.want...)
	}
	e.is(unix.Renameat2(unix.AT_FDCWD, e.path("f"), unix.AT_FDCWD, e.path("empty"), unix.RENAME_NOREPLACE), "rename that is not to replace", syscall.EINVAL, syscall.EEXIST)
	e.ok(unix.Rename(e.path("d"), e.path("empty")), "rename of a directory over an empty one")
	if _, err := os.Stat(e.path("empty/in")); err != nil {
		e.Errorf("what was in it: %v", err)
	}
	e.ok(os.Rename(e.path("f"), e.path("f")), "rename to itself")
	e.has(e.path("f"), "f")
}

// Open files and directories stay what they are when they are renamed.
func testRenameOpen(e *env) {
	e.ok(os.MkdirAll(e.path("d/sub"), 0o755), "mkdir")
	e.write(e.path("d/sub/f"), "x")
	f, d := e.open(e.path("d/sub/f"), os.O_RDWR), e.open(e.path("d"), os.O_RDONLY)
	e.ok(os.Rename(e.path("d"), e.path("e")), "rename of a directory")
	e.ok(os.Rename(e.path("e/sub/f"), e.path("e/g")), "rename of a file")
	_, err := f.WriteAt([]byte("y"), 1)
	e.ok(err, "write")
	e.ok(f.Chmod(0o600), "fchmod")
	if st, err := f.Stat(); err != nil || st.Size() != 2 || st.Mode().Perm() != 0o600 {
		e.Errorf("fstat: %+v %v", st, err)
	}
	e.has(e.path("e/g"), "xy")
	fd, err := unix.Openat(int(d.Fd()), "new", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	e.ok(err, "openat in a renamed directory")
	unix.Close(fd)
	if _, err := os.Stat(e.path("e/new")); err != nil {
		e.Errorf("what was made in it: %v", err)
	}
	if _, err := os.Stat(e.there("e/g")); err != nil {
		e.Errorf("seen by another mount: %v", err)
	}
}

func testDirectories(e *env) {
	e.ok(os.Mkdir(e.path("d"), 0o755), "mkdir")
	e.is(os.Mkdir(e.path("d"), 0o755), "mkdir of what is there", syscall.EEXIST)
	e.is(os.Mkdir(e.path("none/d"), 0o755), "mkdir in nothing", syscall.ENOENT)
	e.write(e.path("d/f"), "x")
	e.is(unix.Rmdir(e.path("d")), "rmdir of a directory with a file", syscall.ENOTEMPTY)
	e.is(unix.Rmdir(e.path("d/f")), "rmdir of a file", syscall.ENOTDIR)
	e.is(unix.Rmdir(e.path("none")), "rmdir of nothing", syscall.ENOENT)
	e.is(unix.Unlink(e.path("d")), "unlink of a directory", syscall.EISDIR, syscall.EPERM)
	e.is(unix.Unlink(e.path("none")), "unlink of nothing", syscall.ENOENT)
	e.ok(unix.Unlink(e.path("d/f")), "unlink")
	e.ok(unix.Rmdir(e.path("d")), "rmdir")
	deep := e.path(strings.Repeat("d/", 40))
	e.ok(os.MkdirAll(deep, 0o755), "mkdir -p")
	e.write(filepath.Join(deep, "f"), "deep")
	e.has(filepath.Join(deep, "f"), "deep")
}

// Entries that nobody touches are listed once, whatever happens around them.
func testReaddirWhileChanging(e *env) {
	const n = 400
	for i := range n {
		e.write(e.path(fmt.Sprintf("keep%03d", i)), "")
	}
	fd, err := unix.Open(e.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	e.ok(err, "open")
	defer unix.Close(fd)
	seen := make(map[string]int)
	buf := make([]byte, 1024)
	for i := 0; ; i++ {
		k, err := unix.Getdents(fd, buf)
		e.ok(err, "getdents")
		if k == 0 {
			break
		}
		_, _, names := unix.ParseDirent(buf[:k], -1, nil)
		for _, name := range names {
			seen[name]++
		}
		e.write(e.path(fmt.Sprintf("come%03d", i)), "")
		e.write(e.path(fmt.Sprintf("a%03d", i)), "")
		if i > 0 {
			e.ok(os.Remove(e.path(fmt.Sprintf("come%03d", i-1))), "rm")
		}
	}
	for i := range n {
		if name := fmt.Sprintf("keep%03d", i); seen[name] != 1 {
			e.Errorf("%s is listed %d times", name, seen[name])
		}
	}
	list, err := os.ReadDir(e.there("."))
	if err != nil || len(list) < n {
		e.Errorf("another mount lists %d entries (%v)", len(list), err)
	}
}

// A directory is read on from where it was left, also from the beginning.
func testSeekdir(e *env) {
	const n = 300
	for i := range n {
		e.ok(os.Mkdir(e.path(fmt.Sprintf("d%03d", i)), 0o755), "mkdir")
	}
	fd, err := unix.Open(e.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	e.ok(err, "open")
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	read := func() []string {
		e.Helper()
		k, err := unix.Getdents(fd, buf)
		e.ok(err, "getdents")
		_, _, names := unix.ParseDirent(buf[:k], -1, nil)
		return names
	}
	first := read()
	at, err := unix.Seek(fd, 0, 1)
	e.ok(err, "tell")
	second := read()
	for len(read()) > 0 {
	}
	_, err = unix.Seek(fd, at, 0)
	e.ok(err, "seek")
	if again := read(); strings.Join(again, " ") != strings.Join(second, " ") {
		e.Errorf("behind a seek there is %q, want %q", again, second)
	}
	e.write(e.path("a-new-one"), "")
	_, err = unix.Seek(fd, 0, 0)
	e.ok(err, "rewind")
	if again := read(); again[0] != "a-new-one" || again[1] != first[0] {
		e.Errorf("after rewinding there is %q, want what came meanwhile too", again[:2])
	}
}

func testNames(e *env) {
	for _, name := range []string{"a b", "-rf", "ü€😀", `back\slash`, "new\nline", "%2e", "...", strings.Repeat("n", 255)} {
		e.write(e.path(name), name)
		e.has(e.there(name), name)
	}
	_, err := os.Create(e.path(strings.Repeat("n", 256)))
	e.is(err, "a name of 256 bytes", syscall.ENAMETOOLONG)
	_, err = os.Create(e.path("bad\xff"))
	e.is(err, "a name that is not UTF-8", syscall.EILSEQ)
	_, err = os.Create(e.path("~local"))
	e.is(err, "a name that stands for a server", syscall.EINVAL, syscall.EPERM)
}

func testSymlinks(e *env) {
	e.ok(os.MkdirAll(e.path("d/deep"), 0o755), "mkdir")
	e.write(e.path("d/f"), "target")
	for name, target := range map[string]string{
		"rel": "d/f", "dir": "d", "d/up": "../d/f", "d/deep/same": "../f", "dangling": "none", "abs": e.path("d/f"), "slow": "d/deep/../f",
	} {
		e.ok(os.Symlink(target, e.path(name)), "symlink "+name)
		if name != "slow" { // ".." behind a name is taken out, as the realm means it
			if got, err := os.Readlink(e.path(name)); err != nil || got != target {
				e.Errorf("readlink of %s is %q (%v), want %q", name, got, err, target)
			}
		}
		if st, err := os.Lstat(e.path(name)); err != nil || st.Mode()&os.ModeSymlink == 0 {
			e.Errorf("lstat of %s: %v %v", name, st, err)
		} else if got, _ := os.Readlink(e.path(name)); st.Size() != int64(len(got)) {
			e.Errorf("%s has %d bytes and leads to %q", name, st.Size(), got)
		}
	}
	for _, name := range []string{"rel", "d/up", "d/deep/same", "abs", "dir/f", "slow"} {
		e.has(e.path(name), "target")
	}
	_, err := os.ReadFile(e.path("dangling"))
	e.is(err, "a dangling link", syscall.ENOENT)
	e.ok(os.Symlink("loop", e.path("loop")), "symlink")
	_, err = os.ReadFile(e.path("loop"))
	e.is(err, "a loop", syscall.ELOOP)
	e.is(os.Symlink("x", e.path("rel")), "symlink over what is there", syscall.EEXIST)
	_, err = os.Readlink(e.path("d/f"))
	e.is(err, "readlink of a file", syscall.EINVAL)
	// A link that leads above the mount leads to the mount's root.
	up := strings.Repeat("../", 30) + "etc/passwd"
	e.ok(os.Symlink(up, e.path("above")), "symlink")
	if b, err := os.ReadFile(e.path("above")); err == nil {
		e.Errorf("a link leads out of the mount, to %s", short(b))
	}
	if got, _ := os.Readlink(e.path("above")); !strings.HasSuffix(got, "/etc/passwd") || strings.Contains(got, "..") {
		e.Errorf("a link that leads above the mount is shown as %q", got)
	}
	e.ok(os.Remove(e.path("abs")), "unlink of a link")
	e.has(e.path("d/f"), "target")
}

// What file systems need not have is refused in the way that programs know.
func testNotHere(e *env) {
	e.write(e.path("f"), "x")
	e.is(os.Link(e.path("f"), e.path("g")), "link", syscall.EPERM)
	e.is(unix.Mkfifo(e.path("fifo"), 0o644), "mkfifo", syscall.EPERM)
	e.is(unix.Mknod(e.path("dev"), unix.S_IFCHR|0o644, 0x103), "mknod", syscall.EPERM)
	e.ok(unix.Mknod(e.path("file"), unix.S_IFREG|0o644, 0), "mknod of a file")
	e.is(unix.Setxattr(e.path("f"), "user.x", []byte("y"), 0), "setxattr", syscall.EOPNOTSUPP)
	_, err := unix.Getxattr(e.path("f"), "user.x", make([]byte, 10))
	e.is(err, "getxattr", syscall.EOPNOTSUPP, syscall.ENODATA)
}
