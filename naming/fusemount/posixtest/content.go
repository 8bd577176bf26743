package posixtest

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Any order of writes, reads and truncations through several handles gives what
// they give in memory.
func testOverlappingWrites(e *env) {
	const size = 200_000
	rnd := rand.New(rand.NewPCG(1, 2))
	files := []*os.File{e.open(e.path("f"), os.O_RDWR|os.O_CREATE), e.open(e.path("f"), os.O_WRONLY), e.open(e.path("f"), os.O_RDWR)}
	want := []byte{}
	for i := range 600 {
		f := files[rnd.IntN(len(files))]
		off, n := rnd.IntN(size), 1+rnd.IntN(1<<rnd.IntN(16))
		switch rnd.IntN(8) {
		case 0:
			e.ok(f.Truncate(int64(off)), "ftruncate")
			want = append(want[:min(off, len(want))], make([]byte, max(0, off-len(want)))...)
		case 1:
			got := make([]byte, n)
			k, err := files[2*rnd.IntN(2)].ReadAt(got, int64(off))
			if err != nil && err != io.EOF {
				e.Fatalf("read: %v", err)
			}
			if off < len(want) && !bytes.Equal(got[:k], want[off:min(len(want), off+n)]) || off >= len(want) && k > 0 {
				e.Fatalf("step %d: %d bytes at %d of %d are not what was written", i, k, off, len(want))
			}
		default:
			data := bytes.Repeat([]byte{byte(1 + rnd.IntN(255))}, n)
			_, err := f.WriteAt(data, int64(off))
			e.ok(err, "write")
			if len(want) < off+n {
				want = append(want, make([]byte, off+n-len(want))...)
			}
			copy(want[off:], data)
		}
	}
	for _, f := range files {
		e.ok(f.Close(), "close")
	}
	for _, path := range []string{e.path("f"), e.there("f")} {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			e.Errorf("%s has %d bytes (%v) that are not the %d that were written", path, len(got), err, len(want))
		}
	}
}

// Files that are open for everything at once agree with each other: how each
// reads and writes is the mount's choice.
func testManyHandles(e *env) {
	e.write(e.path("f"), "0000000000")
	r := e.open(e.path("f"), os.O_RDONLY)
	e.readAt(r, 0, "0000000000")
	w := e.open(e.path("f"), os.O_WRONLY)
	rw := e.open(e.path("f"), os.O_RDWR)
	app := e.open(e.path("f"), os.O_RDWR|os.O_APPEND)
	_, err := w.WriteAt([]byte("11"), 0)
	e.ok(err, "write")
	_, err = rw.WriteAt([]byte("22"), 2)
	e.ok(err, "write")
	_, err = app.WriteString("33")
	e.ok(err, "append")
	const want = "112200000033"
	late := e.open(e.path("f"), os.O_RDONLY)
	for _, f := range []*os.File{r, rw, app, late} {
		e.readAt(f, 0, want)
	}
	r.Close()
	late.Close()
	_, err = rw.WriteAt([]byte("44"), 4)
	e.ok(err, "write")
	e.readAt(app, 0, "112244000033")
	again := e.open(e.path("f"), os.O_RDONLY)
	e.readAt(again, 0, "112244000033")
	e.has(e.there("f"), "112244000033")
	e.ok(os.WriteFile(e.path("g"), []byte("new"), 0o644), "write")
	e.ok(os.Rename(e.path("g"), e.path("f")), "rename over")
	e.readAt(again, 0, "112244000033")
	e.has(e.path("f"), "new")
}

// A reader never finds less than what the writer had told was written.
func testReadWhileWritten(e *env) {
	w := e.open(e.path("f"), os.O_WRONLY|os.O_CREATE)
	var mu sync.Mutex
	told, end := 0, false
	var wg sync.WaitGroup
	wg.Go(func() {
		r := e.open(e.path("f"), os.O_RDONLY)
		buf := make([]byte, 1<<20)
		for {
			mu.Lock()
			least, done := told, end
			mu.Unlock()
			n, err := r.ReadAt(buf, 0)
			if err != nil && err != io.EOF {
				e.Errorf("read: %v", err)
				return
			}
			if n < least || len(bytes.Trim(buf[:n], "x")) > 0 {
				e.Errorf("%d bytes are read, %d were written before", n, least)
				return
			}
			if st, err := os.Stat(e.path("f")); err != nil || int(st.Size()) < least {
				e.Errorf("stat: %v, %v; %d were written before", st, err, least)
				return
			}
			if done {
				return
			}
		}
	})
	for range 200 {
		_, err := w.Write(bytes.Repeat([]byte("x"), 777))
		e.ok(err, "write")
		mu.Lock()
		told += 777
		mu.Unlock()
	}
	mu.Lock()
	end = true
	mu.Unlock()
	wg.Wait()
}

func testMmap(e *env) {
	e.ok(os.WriteFile(e.path("f"), bytes.Repeat([]byte("a"), 8192), 0o644), "write")
	f := e.open(e.path("f"), os.O_RDWR)
	m, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	e.ok(err, "mmap shared")
	copy(m[4090:], "across pages")
	e.ok(unix.Msync(m, unix.MS_SYNC), "msync")
	e.readAt(f, 4090, "across pages")
	e.ok(unix.Munmap(m), "munmap")
	e.ok(f.Close(), "close")
	got, err := os.ReadFile(e.there("f"))
	if err != nil || string(got[4090:4102]) != "across pages" || len(got) != 8192 {
		e.Errorf("after a write through memory another mount finds %s (%v)", short(got[4090:4102]), err)
	}
	r := e.open(e.path("f"), os.O_RDONLY)
	m, err = unix.Mmap(int(r.Fd()), 0, 8192, unix.PROT_READ, unix.MAP_PRIVATE)
	e.ok(err, "mmap private")
	if string(m[4090:4102]) != "across pages" {
		e.Errorf("through memory there is %s", short(m[4090:4102]))
	}
	e.ok(unix.Munmap(m), "munmap")
}

// Programs can be run from the mount.
func testExec(e *env) {
	b, err := os.ReadFile("/bin/true")
	if err != nil || e.cfg.Small && len(b) > 1<<20 {
		e.Skip("no small /bin/true here")
	}
	e.ok(os.WriteFile(e.path("true"), b, 0o755), "write")
	if out, err := exec.Command(e.path("true")).CombinedOutput(); err != nil {
		e.Errorf("running a program: %v %s", err, out)
	}
	e.ok(os.Chmod(e.path("true"), 0o644), "chmod")
	e.is(exec.Command(e.path("true")).Run(), "running what is no program", syscall.EACCES)
}

// Whoever opens a file finds what was in it when the last writer closed it.
func testCloseToOpen(e *env) {
	for i := range 20 {
		want := string(bytes.Repeat([]byte{byte('a' + i)}, 100+i*37))
		e.write(e.path("f"), want)
		e.has(e.there("f"), want)
		want = string(bytes.Repeat([]byte{byte('A' + i)}, 100+i*37)) // of the same size
		e.write(e.there("f"), want)
		e.has(e.path("f"), want)
	}
}

// What is not opened is stale for a second at most.
func testSeenElsewhere(e *env) {
	e.write(e.path("f"), "1")
	f := e.open(e.there("f"), os.O_RDONLY)
	e.readAt(f, 0, "1")
	e.write(e.path("new"), "")
	e.write(e.path("f"), "22")
	seen := func(what string, ok func() bool) {
		e.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				e.Errorf("%s is not seen on another mount", what)
				return
			}
		}
	}
	seen("a new file", func() bool { _, err := os.Stat(e.there("new")); return err == nil })
	seen("a new size", func() bool { st, err := os.Stat(e.there("f")); return err == nil && st.Size() == 2 })
	seen("new content, by who has the file open,", func() bool {
		b := make([]byte, 2)
		n, _ := f.ReadAt(b, 0)
		return string(b[:n]) == "22"
	})
	e.ok(os.Remove(e.path("new")), "rm")
	seen("a removal", func() bool { _, err := os.Stat(e.there("new")); return os.IsNotExist(err) })
}

// A large file arrives as it was sent.
func testBig(e *env) {
	if e.cfg.Big == 0 || e.cfg.Small {
		e.Skip("files are small here")
	}
	block := make([]byte, 1<<20)
	w := e.open(e.path("big"), os.O_WRONLY|os.O_CREATE)
	sent := sha256.New()
	src := rand.NewChaCha8([32]byte{1})
	for left := e.cfg.Big; left > 0; {
		n := min(left, int64(len(block)))
		src.Read(block[:n])
		sent.Write(block[:n])
		_, err := w.Write(block[:n])
		e.ok(err, "write")
		left -= n
	}
	e.ok(w.Sync(), "fsync")
	e.ok(w.Close(), "close")
	for _, path := range []string{e.path("big"), e.there("big")} {
		r, err := os.Open(path)
		e.ok(err, "open")
		got := sha256.New()
		n, err := io.Copy(got, r)
		r.Close()
		if err != nil || n != e.cfg.Big || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
			e.Errorf("%s: %d bytes (%v) that are not the %d that were written", path, n, err, e.cfg.Big)
		}
	}
}
