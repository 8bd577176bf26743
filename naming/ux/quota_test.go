package ux

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func TestPROBES_R11_Bytes(t *testing.T) {
	s := start(t, Config{Quota: Quota{Bytes: 16 << 10}})
	root := s.as("mallory")
	root.put("a", string(make([]byte, 8<<10)))
	h := root.open("a", rw)
	write(t, h, 8<<10, string(make([]byte, 4<<10)))
	s.used(12<<10, 1)
	root.put("b", "x") // counts 4 KiB
	s.used(16<<10, 2)
	_, err := h.WriteAt(ctx, []byte("x"), 12<<10)
	kind(t, err, api.Busy, "16 KiB of 16 KiB", "remove files", "node n1")
	_, err = h.WriteAt(ctx, []byte("within what there is"), 0)
	kind(t, err, "")
	_, err = root.Put(ctx, "c", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Data: []byte("x")})
	kind(t, err, api.Busy)
	_, err = root.Put(ctx, "b", tree.Put{Append: true, Data: make([]byte, 4<<10)})
	kind(t, err, api.Busy)
	root.has("b", "x")
	root.put("b", string(make([]byte, 4<<10))) // no more than it had
	root.create("empty", tree.NewFile{Mode: tree.ModeFile | 0o600})
	_, err = root.Create(ctx, "l", tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: "a"})
	kind(t, err, api.Busy)
	_, err = root.Put(ctx, "big", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Data: make([]byte, 17<<10)})
	kind(t, err, api.TooLarge, "16 KiB")
	_, err = root.Put(ctx, "big", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Data: make([]byte, MaxPut+1)})
	kind(t, err, api.TooLarge, "in pieces")
	root.remove("b", false)
	write(t, h, 12<<10, "x")
	s.used(16<<10, 2)
	s.counted()
	if err := s.SetQuota("r1", Quota{Bytes: 4 << 10}); err != nil {
		t.Fatal(err)
	}
	_, err = h.WriteAt(ctx, []byte("x"), 100)
	kind(t, err, "") // what is there may be written
	if _, err := h.(tree.Attrs).SetAttr(ctx, tree.SetAttr{Size: ptr(int64(9 << 10))}); err != nil {
		t.Errorf("shrinking while over the quota: %v", err)
	}
	s.used(12<<10, 2)
}

func TestPROBES_R11_Inodes(t *testing.T) {
	s := start(t, Config{Quota: Quota{Inodes: 4}})
	root := s.as("mallory")
	root.mkdir("d")
	root.put("d/f", "")
	root.create("l", tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: "x"})
	root.create("e", tree.NewFile{Mode: tree.ModeFile | 0o600})
	_, err := root.Create(ctx, "x", tree.NewFile{Mode: tree.ModeDir | 0o700})
	kind(t, err, api.Busy, "4 of 4 files")
	_, err = root.Put(ctx, "x", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true})
	kind(t, err, api.Busy)
	root.rename("l", "d/f") // replaces one
	root.put("x", "")
	if names, err := os.ReadDir(s.dir + "/realms/r1/tmp"); err != nil || len(names) != 0 {
		t.Errorf("refused files stay in tmp: %v, %v", names, err)
	}
	root.remove("e", false)
	root.remove("x", false)
	s.used(4096, 2)
	s.counted()
}

// A file that is open keeps its room when its name is gone.
func TestUnlinkedFilesCount(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("f", string(make([]byte, 8192)))
	root.put("g", "x")
	h, g := root.open("f", rw), root.open("g", rd)
	root.remove("f", false)
	s.used(12288, 2)
	write(t, h, 8192, "more")
	s.used(16384, 2)
	if _, err := h.(tree.Attrs).SetAttr(ctx, tree.SetAttr{Size: ptr(int64(1))}); err != nil {
		t.Fatal(err)
	}
	s.used(8192, 2)
	root.put("new", "y")
	root.rename("new", "g")
	s.used(12288, 3)
	if got := content(t, g); got != "x" {
		t.Errorf("the handle on what was replaced reads %q, want x", got)
	}
	h.Close()
	s.used(8192, 2)
	g.Close()
	s.used(4096, 1)
	s.counted()
}

// Many clients do what they like; at the end the books are right, and at no
// time is more used than allowed.
func TestQuotaIsExact(t *testing.T) {
	const limit = 400 << 10
	s := start(t, Config{Quota: Quota{Bytes: limit, Inodes: 30}})
	s.as("alice").mkdir("d")
	refused := make(chan struct{}, 1)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			c := chaos{fail: t.Errorf, rnd: rnd, root: s.as("alice").File, refused: refused}
			for range 400 {
				c.step()
				if u, err := s.Usage(ctx, "r1"); err != nil || u.Used.Bytes > limit || u.Used.Inodes > 30 || u.Used.Bytes < 0 {
					t.Errorf("used %+v, %v, of %d", u.Used, err, limit)
				}
			}
			c.close()
		})
	}
	wg.Wait()
	select {
	case <-refused:
	default:
		t.Error("the quota was never met: the test shows nothing")
	}
	want := s.counted()
	s.again().used(want.Bytes, want.Inodes)
}

// chaos does something to one of a few files.
type chaos struct {
	fail    func(format string, args ...any)
	rnd     *rand.Rand
	root    tree.File
	open    []tree.Handle
	files   []*os.File
	refused chan struct{}
}

func (c *chaos) close() {
	for _, h := range c.open {
		h.Close()
	}
	for _, f := range c.files {
		f.Close()
	}
	c.open, c.files = nil, nil
}

func (c *chaos) step() {
	name, other := fmt.Sprint("f", c.rnd.IntN(8)), fmt.Sprint("f", c.rnd.IntN(8))
	dir, to := c.place(), c.place()
	data := make([]byte, c.rnd.IntN(40<<10))
	var err error
	switch c.rnd.IntN(9) {
	case 0, 1:
		_, err = dir.Put(ctx, name, tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Append: c.rnd.IntN(2) == 0, Data: data})
	case 2:
		err = dir.Remove(ctx, name, false)
	case 3:
		err = dir.Rename(ctx, name, to, other)
	case 4, 5:
		err = c.openOne(dir, name)
	case 6:
		if len(c.open) > 0 {
			_, err = c.open[c.rnd.IntN(len(c.open))].WriteAt(ctx, data, int64(c.rnd.IntN(40<<10)))
		}
	case 7:
		var f tree.File
		if f, err = dir.Walk(ctx, name); err == nil {
			_, err = f.SetAttr(ctx, tree.SetAttr{Size: ptr(int64(c.rnd.IntN(60 << 10)))})
		}
	case 8:
		c.close()
	}
	switch api.KindOf(err) {
	case "", api.NotFound, api.Denied:
	case api.Busy:
		select {
		case c.refused <- struct{}{}:
		default:
		}
	default:
		c.fail("an operation on %s and %s: %v", name, other, err)
	}
}

func (c *chaos) place() tree.File {
	if c.rnd.IntN(2) == 0 {
		return c.root
	}
	d, err := c.root.Walk(ctx, "d")
	if err != nil {
		c.fail("walk to d: %v", err)
	}
	return d
}

func (c *chaos) openOne(dir tree.File, name string) error {
	f, err := dir.Walk(ctx, name)
	if err != nil {
		return err
	}
	m := rw
	if c.rnd.IntN(2) == 0 {
		m = rd
	}
	h, err := f.Open(ctx, m)
	if err != nil {
		return err
	}
	c.open = append(c.open, h)
	if m == rd {
		d, err := h.(tree.Descriptor).Descriptor()
		if err != nil {
			return err
		}
		c.files = append(c.files, d)
	}
	return nil
}

// mount puts a small file system at a directory of the test's own.
func mount(t *testing.T, fs, source, options string) string {
	t.Helper()
	at := t.TempDir()
	if err := unix.Mount(source, at, fs, 0, options); err != nil {
		t.Skipf("cannot mount a %s: %v", fs, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Errorf("something still holds the %s: %v", fs, err)
			unix.Unmount(at, unix.MNT_DETACH)
		}
	})
	return at
}

// ext4 mounts a file of 64 MiB.
func ext4(t *testing.T) string {
	t.Helper()
	image := t.TempDir() + "/image"
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v %s", err, out)
	}
	at := t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", image, at).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a loop: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return at
}

// The disk itself is full: reading and removing go on, writing says so.
func TestFAULTS_F27_DiskFull(t *testing.T) {
	for _, c := range []struct {
		name string
		keep int64
		dir  func(t *testing.T) string
	}{
		{"tmpfs", -1, func(t *testing.T) string { return mount(t, "tmpfs", "ux-test", "size=8m") }},
		{"tmpfs, some kept free", 2 << 20, func(t *testing.T) string { return mount(t, "tmpfs", "ux-test", "size=8m") }},
		{"ext4 of 64 MiB", -1, ext4},
	} {
		t.Run(c.name, func(t *testing.T) { diskFull(t, c.dir(t), c.keep) })
	}
}

func diskFull(t *testing.T, at string, keep int64) {
	s := start(t, Config{Dir: at, KeepFree: keep, Node: "n7"})
	root := s.as("alice")
	root.put("small", "text")
	root.put("spare", "a block that the disk has left later")
	root.put("log", "first ")
	root.create("big", tree.NewFile{Mode: tree.ModeFile | 0o600})
	h, app := root.open("big", rw), root.open("log", tree.OpenMode{Append: true})
	var err error
	chunk := make([]byte, 100<<10)
	for off, n := int64(0), 0; err == nil; off += int64(n) {
		n, err = h.WriteAt(ctx, chunk, off)
	}
	kind(t, err, api.Unavailable, "the disk of node n7 is full")
	for err = nil; err == nil; { // what is left goes by small steps
		_, err = app.WriteAt(ctx, make([]byte, 4096), 0)
	}
	kind(t, err, api.Unavailable)
	size := root.attr("log").Size
	_, err = root.Put(ctx, "log", tree.Put{Append: true, Data: chunk})
	kind(t, err, api.Unavailable, "the disk of node n7 is full")
	if got := root.attr("log").Size; got != size {
		t.Errorf("after a refused append the file has %d bytes, want %d", got, size)
	}
	_, err = root.Put(ctx, "small", tree.Put{Data: chunk})
	kind(t, err, api.Unavailable)
	root.has("small", "text")
	// A server that has not met the end of the disk yet writes into it.
	h.Close()
	app.Close()
	s.Close()
	s = start(t, Config{Dir: at, KeepFree: keep, Node: "n7"})
	root = s.as("alice")
	root.remove("spare", false)
	_, err = root.Put(ctx, "log", tree.Put{Append: true, Data: chunk})
	want := size
	if err == nil { // root's own last blocks
		want += int64(len(chunk))
	} else {
		kind(t, err, api.Unavailable)
	}
	if got := root.attr("log").Size; got != want {
		t.Errorf("after an append, %v, the file has %d bytes, want %d", err, got, want)
	}
	app = root.open("log", tree.OpenMode{Append: true})
	if keep > 0 {
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err != nil || int64(st.Bavail)*st.Bsize < keep-checkEvery {
			t.Errorf("%d bytes are free, %v, want about %d kept", int64(st.Bavail)*st.Bsize, err, keep)
		}
	}
	s.counted()
	root.remove("big", false)
	root.put("after", string(chunk))
	write(t, app, 0, "goes on")
	app.Close()
	left := s.counted()
	s = s.again()
	s.used(left.Bytes, left.Inodes)
	s.as("alice").has("small", "text")
	s.Close()
}
