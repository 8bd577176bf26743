package ux

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/naming/tree"
)

const hostileEnv = "UX_TEST_HOSTILE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(hostileEnv) != "":
		hostile()
	case os.Getenv(crashEnv) != "":
		crashing(os.Getenv(crashEnv))
	default:
		os.Exit(m.Run())
	}
}

// hostile is a proc with another uid that was handed descriptor 3. It prints
// what it got by each attempt to do more than read.
func hostile() {
	got := make(map[string]string)
	try := func(what string, err error) {
		got[what] = "done"
		if err != nil {
			got[what] = err.Error()
		}
	}
	path := "/proc/self/fd/3"
	reopen := func(what string, flags int) {
		fd, err := unix.Open(path, flags, 0)
		if err == nil && flags == unix.O_PATH { // harmless by itself
			_, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR, 0)
		}
		try(what, err)
	}
	reopen("reopen to write", unix.O_WRONLY)
	reopen("reopen to read and write", unix.O_RDWR)
	reopen("reopen to truncate", unix.O_RDONLY|unix.O_TRUNC)
	reopen("reopen by O_PATH", unix.O_PATH)
	_, err := unix.Pwrite(3, []byte("x"), 0)
	try("write", err)
	try("truncate", unix.Ftruncate(3, 0))
	try("truncate by path", unix.Truncate(path, 0))
	try("allocate", unix.Fallocate(3, 0, 0, 1<<20))
	try("chmod", unix.Fchmod(3, 0o666))
	try("chmod by path", unix.Chmod(path, 0o666))
	try("chown", unix.Fchown(3, os.Getuid(), -1))
	try("set attribute", unix.Fsetxattr(3, metaAttr, []byte("x"), 0))
	_, err = unix.Fgetxattr(3, metaAttr, make([]byte, 512))
	try("get attribute", err)
	try("hard link", unix.Linkat(3, "", unix.AT_FDCWD, "/tmp/ux-test-link", unix.AT_EMPTY_PATH))
	try("hard link by path", unix.Linkat(unix.AT_FDCWD, path, unix.AT_FDCWD, "/tmp/ux-test-link", unix.AT_SYMLINK_FOLLOW))
	_, err = unix.FcntlInt(3, unix.F_SETLEASE, unix.F_RDLCK)
	try("lease", err)
	_, err = unix.Mmap(3, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	try("map to write", err)
	m, err := unix.Mmap(3, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if try("map to read", err); err == nil {
		try("make the map writable", unix.Mprotect(m, unix.PROT_READ|unix.PROT_WRITE))
	}
	b := make([]byte, 16)
	n, err := unix.Pread(3, b, 0)
	try("read", err)
	got["content"] = string(b[:max(n, 0)])
	flags, _ := unix.FcntlInt(3, unix.F_GETFL, 0)
	got["flags"] = fmt.Sprintf("%o", flags&(unix.O_ACCMODE|unix.O_NONBLOCK))
	json.NewEncoder(os.Stdout).Encode(got)
	io.Copy(io.Discard, os.Stdin) // it keeps the file open until it is told to end
}

// A descriptor that a proc was handed reads, and nothing else.
func TestPROBES_N26_HandedDescriptor(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("f", "readable"+string(make([]byte, 4096)))
	file := root.descriptor("f")
	c := exec.Command(os.Args[0])
	c.Env = []string{hostileEnv + "=1"}
	c.ExtraFiles = []*os.File{file}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61234, Gid: 61234}}
	c.Stderr = os.Stderr
	if err := os.Chmod(os.Args[0], 0o755); err != nil {
		t.Fatal(err)
	}
	in, _ := c.StdinPipe()
	out, _ := c.StdoutPipe()
	if err := c.Start(); err != nil {
		t.Skipf("cannot start a proc of another uid: %v", err)
	}
	file.Close()
	var got map[string]string
	if err := json.NewDecoder(out).Decode(&got); err != nil {
		t.Fatalf("the proc said nothing: %v", err)
	}
	want := map[string]string{"read": "done", "content": "readable\x00\x00\x00\x00\x00\x00\x00\x00", "map to read": "done", "flags": "0"}
	for what, w := range want {
		if got[what] != w {
			t.Errorf("%s: %q, want %q", what, got[what], w)
		}
		delete(got, what)
	}
	for what, g := range got {
		if g == "done" {
			t.Errorf("a proc could %s", what)
		}
	}
	if len(got) != 18 {
		t.Errorf("%d attempts are reported, want 18: %v", len(got), got)
	}

	// While the proc lives, the file's room is not free.
	root.remove("f", false)
	s.used(8192, 1)
	in.Close()
	c.Wait()
	s.used(0, 0)
}

func (d *dir) descriptor(path string) *os.File {
	d.Helper()
	h := d.open(path, rd)
	f, err := h.(tree.Descriptor).Descriptor()
	if err != nil {
		d.Fatalf("Descriptor(%q): %v", path, err)
	}
	if err := h.Close(); err != nil {
		d.Fatal(err)
	}
	return f
}

func TestDescriptorOnlyForReaders(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("f", "x")
	for _, m := range []tree.OpenMode{rw, {Write: true}, {Append: true}} {
		_, err := root.open("f", m).(tree.Descriptor).Descriptor()
		kind(t, err, api.Denied)
	}
	h := root.open("f", rd)
	root.rename("f", "g")
	f, err := h.(tree.Descriptor).Descriptor()
	if err != nil {
		t.Fatalf("Descriptor after a rename: %v", err)
	}
	f.Close()
	root.remove("g", false)
	_, err = h.(tree.Descriptor).Descriptor()
	kind(t, err, api.NotFound)
	h.Close()
	_, err = h.(tree.Descriptor).Descriptor()
	kind(t, err, api.Invalid)
}

// What procs have open counts, however it lost its name: a realm must not fill
// the disk by opening and removing (R11).
func TestPROBES_R11_HandedFilesCount(t *testing.T) {
	const mib = 1 << 20
	data := string(make([]byte, mib))
	for name, lose := range map[string]func(root *dir){
		"removed":      func(root *dir) { root.remove("f", false) },
		"renamed over": func(root *dir) { root.put("g", data); root.rename("g", "f"); root.remove("f", false) },
		"put over":     func(root *dir) { root.put("f", data); root.remove("f", false) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{Quota: Quota{Bytes: 4 * mib}})
			root := s.as("mallory")
			var held []*os.File
			for range 3 {
				root.put("f", data)
				held = append(held, root.descriptor("f"))
				lose(root)
			}
			s.used(3*mib, 3)
			root.put("last", data)
			_, err := root.Put(ctx, "more", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Data: []byte("x")})
			kind(t, err, api.Busy, "4 MiB of 4 MiB")
			for _, f := range held {
				f.Close()
			}
			// Who needs the room finds it at once.
			root.put("more", "x")
			s.used(mib+4096, 2)
		})
	}
}

// Without need, descriptors that were closed are noticed after a while.
func TestHandedFilesAreSwept(t *testing.T) {
	clk := clock.NewFake(time.Unix(1000, 0))
	s := start(t, Config{Clock: clk})
	root := s.as("alice")
	root.put("f", "x")
	f := root.descriptor("f")
	root.remove("f", false)
	r, _ := s.realm(ctx, "r1", false)
	for _, step := range []struct {
		closed bool
		want   Quota
	}{{false, Quota{4096, 1}}, {true, Quota{}}} {
		if step.closed {
			f.Close()
		}
		clk.Advance(sweepEvery)
		if _, used := r.ledger.read(); used != step.want {
			t.Errorf("closed %v: used %+v, want %+v", step.closed, used, step.want)
		}
	}
	if n := clk.Pending(); n != 0 {
		t.Errorf("%d timers are pending while nothing is handed out", n)
	}
}

// A Put gives open handles the new content; a descriptor keeps the old.
func TestPutUnderOpenHandles(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("f", "old")
	old := root.descriptor("f")
	defer old.Close()
	r, w, a := root.open("f", rd), root.open("f", rw), root.open("f", tree.OpenMode{Append: true})
	id := root.attr("f").ID
	root.put("f", "newer")
	if got := content(t, r); got != "newer" {
		t.Errorf("a handle reads %q, want the new content", got)
	}
	write(t, w, 0, "N")
	write(t, a, 0, "!")
	root.has("f", "Newer!")
	if got := root.attr("f"); got.ID != id || got.Size != 6 {
		t.Errorf("after Put the file is %+v, want id %d and 6 bytes", got, id)
	}
	if b, err := io.ReadAll(old); err != nil || string(b) != "old" {
		t.Errorf("the descriptor reads %q, %v, want old", b, err)
	}
	for _, h := range []tree.Handle{r, w, a} {
		h.Close()
	}
	old.Close()
	s.used(4096, 1)
	s.counted()
}

// A Put on a condition loses no write that came through a handle.
func TestCompareAndSetAgainstWrites(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("f", "")
	h := root.open("f", tree.OpenMode{Append: true})
	const writes = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range writes {
			if _, err := h.WriteAt(ctx, []byte("w"), 0); err != nil {
				t.Errorf("WriteAt: %v", err)
			}
			runtime.Gosched()
		}
	}()
	puts := 0
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
		}
		a, data, err := root.walk("f").(tree.Getter).Get(ctx, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = root.Put(ctx, "f", tree.Put{If: &a.Version, Data: append(data, 'p')}); err == nil {
			puts++
		} else {
			kind(t, err, api.Conflict)
		}
	}
	_, data, _ := root.walk("f").(tree.Getter).Get(ctx, 1<<20)
	if w, p := bytes.Count(data, []byte("w")), bytes.Count(data, []byte("p")); w != writes || p != puts || puts == 0 {
		t.Errorf("there are %d writes and %d Puts, want %d and %d, and some", w, p, writes, puts)
	}
}

// The same, when the write comes between the look at the version and the Put.
func TestWriteBetweenCheckAndPut(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	v := root.put("f", "old").Version
	h := root.open("f", rw).(*handle)
	h.n.content.Lock()
	end := make(chan error)
	go func() {
		_, err := root.Put(ctx, "f", tree.Put{If: &v, Data: []byte("put")})
		end <- err
	}()
	for h.r.ns.TryRLock() {
		h.r.ns.RUnlock()
		runtime.Gosched()
	}
	time.Sleep(5 * time.Millisecond) // most likely it has looked by now
	if _, err := h.n.write("write", "f", []byte("wrote"), 0); err != nil {
		t.Fatal(err)
	}
	h.n.wrote()
	h.n.content.Unlock()
	kind(t, <-end, api.Conflict)
	root.has("f", "wrote")
}

func TestOpenFilesAreBounded(t *testing.T) {
	s := start(t, Config{MaxOpen: 3})
	root := s.as("mallory")
	for _, n := range []string{"a", "b", "c", "d"} {
		root.put(n, "x")
	}
	a, b := root.open("a", rd), root.open("b", rd)
	root.open("a", rw) // the same file has one descriptor
	c := root.descriptor("c")
	_, err := root.walk("d").Open(ctx, rd)
	kind(t, err, api.Busy, "3 files open")
	c.Close()
	root.open("d", rd)
	_, err = root.walk("c").Open(ctx, rd)
	kind(t, err, api.Busy)
	a.Close()
	b.Close()
	root.open("c", rd)
	if u, _ := s.Usage(ctx, "r1"); u.Open != 3 || u.Handed != 0 {
		t.Errorf("%d files are open and %d handed out, want 3 and 0", u.Open, u.Handed)
	}
}
