package ux

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// A symbolic link is data: the kernel never sees one, so nobody's tools follow it.
func TestPROBES_N26_SymlinkToEtc(t *testing.T) {
	s := start(t, Config{})
	root := s.as("mallory")
	for _, target := range []string{"/etc/passwd", "../../../../etc/passwd", "/proc/self/root/etc/passwd"} {
		root.create("l", tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: target, Exclusive: true})
		if a := root.attr("l"); a.Target != target {
			t.Errorf("the link leads to %q, want %q", a.Target, target)
		}
		_, err := root.walk("l").Open(ctx, rd)
		kind(t, err, api.Invalid)
		_, err = root.find("l/passwd")
		kind(t, err, api.NotDir)
		if st, err := os.Lstat(s.on("r1", "l")); err != nil || !st.Mode().IsRegular() {
			t.Errorf("on the disk the link is %v, %v, want a plain file", st.Mode(), err)
		}
		root.remove("l", false)
	}
}

// What an operator, or a hole in something else, put into a tree by hand is not
// followed, not opened, and not waited for.
func TestPROBES_N26_PlantedThings(t *testing.T) {
	secret := t.TempDir()
	if err := os.WriteFile(filepath.Join(secret, "f"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, Config{})
	root := s.as("mallory")
	root.mkdir("d")
	root.put("d/own", "own")
	plant := func(name string, f func(path string) error) {
		if err := f(s.on("r1", "d/"+name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	link := func(target string) func(string) error {
		return func(p string) error { return os.Symlink(target, p) }
	}
	plant("link-to-file", link(filepath.Join(secret, "f")))
	plant("link-to-dir", link(secret))
	plant("link-to-own", link("own"))
	plant("proc-root", link("/proc/self/root"))
	plant("proc-fd", link("/proc/self/fd"))
	plant("fifo", func(p string) error { return syscall.Mkfifo(p, 0o666) })
	plant("device", func(p string) error { return syscall.Mknod(p, syscall.S_IFCHR|0o666, 1<<8|5) })
	plant("socket", func(p string) error { return syscall.Mknod(p, syscall.S_IFSOCK|0o666, 0) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, p := range []string{"link-to-file", "link-to-dir", "link-to-dir/f", "link-to-own", "proc-root/etc", "proc-fd/1", "fifo", "device", "socket"} {
			if _, err := root.find("d/" + p); api.KindOf(err) != api.NotFound {
				t.Errorf("walk to d/%s: %v, want NotFound", p, err)
			}
		}
		list, err := root.walk("d").ReadDir(ctx, "", 100)
		if err != nil || len(list) != 1 || list[0].Name != "own" {
			t.Errorf("ReadDir shows %v, %v, want own alone", list, err)
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a thing that was put there by hand holds a caller up")
	}
	if err := s.RemoveRealm(ctx, "r1"); err != nil {
		t.Errorf("RemoveRealm: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(secret, "f")); err != nil || string(b) != "secret" {
		t.Errorf("after RemoveRealm the file outside is %q, %v", b, err)
	}
}

func TestPROBES_N26_OtherFileSystem(t *testing.T) {
	s := start(t, Config{})
	root := s.as("mallory")
	root.mkdir("d")
	if err := unix.Mount("ux-test", s.on("r1", "d"), "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	defer unix.Unmount(s.on("r1", "d"), unix.MNT_DETACH)
	if err := os.WriteFile(s.on("r1", "d/f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := root.find("d/f")
	kind(t, err, api.NotFound)
}

func TestPROBES_N26_DevicesFIFOsSockets(t *testing.T) {
	s := start(t, Config{})
	root := s.as("mallory")
	for _, mode := range []uint32{syscall.S_IFIFO, syscall.S_IFCHR, syscall.S_IFBLK, 0o130000, 0} {
		_, err := root.Create(ctx, "x", tree.NewFile{Mode: mode | 0o666})
		kind(t, err, api.Unsupported)
	}
	// An endpoint link shows as a socket; there is none on the disk.
	root.create("ep", tree.NewFile{Mode: tree.ModeEndpoint | 0o777, Target: "token"})
	if st, err := os.Lstat(s.on("r1", "ep")); err != nil || !st.Mode().IsRegular() {
		t.Errorf("on the disk an endpoint link is %v, %v", st.Mode(), err)
	}
}

func TestPROBES_N26_SetuidBit(t *testing.T) {
	s := start(t, Config{})
	root := s.as("mallory")
	f := root.create("f", tree.NewFile{Mode: tree.ModeFile | 0o6777})
	root.create("d", tree.NewFile{Mode: tree.ModeDir | 0o7777})
	perm := uint32(0o7777)
	if _, err := f.SetAttr(ctx, tree.SetAttr{Perm: &perm}); err != nil {
		t.Fatalf("SetAttr: %v", err)
	}
	for name, want := range map[string]os.FileMode{"f": 0o600, "d": 0o700 | os.ModeDir} {
		if a := root.attr(name); a.Mode&0o7000 != 0 {
			t.Errorf("%s has mode %o", name, a.Mode)
		}
		st, err := os.Lstat(s.on("r1", name))
		if err != nil || st.Mode() != want || st.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("on the disk %s is %v of uid %d, %v, want %v of 0", name, st.Mode(), st.Sys().(*syscall.Stat_t).Uid, err, want)
		}
	}
}

func TestPROBES_N26_Sparse1EB(t *testing.T) {
	s := start(t, Config{Quota: Quota{Bytes: 1 << 30}})
	root := s.as("mallory")
	f := root.create("f", tree.NewFile{Mode: tree.ModeFile | 0o600})
	h := root.open("f", rw)
	const exabyte = int64(1) << 60
	_, err := h.WriteAt(ctx, []byte("x"), exabyte)
	kind(t, err, api.TooLarge, "1 GiB")
	size := exabyte
	_, err = f.SetAttr(ctx, tree.SetAttr{Size: &size})
	kind(t, err, api.TooLarge)
	_, err = h.(tree.Attrs).SetAttr(ctx, tree.SetAttr{Size: &size})
	kind(t, err, api.TooLarge)
	s.used(0, 1)
	// A hole within the quota counts as what it would be full.
	write(t, h, 512<<20, "x")
	s.used(512<<20+4096, 1)
	_, err = root.create("g", tree.NewFile{Mode: tree.ModeFile | 0o600}).SetAttr(ctx, tree.SetAttr{Size: ptr(int64(600 << 20))})
	kind(t, err, api.Busy)
}

func ptr[T any](v T) *T { return &v }

// Another realm's files cannot be named, and its realm is as if it were not.
func TestPROBES_N26_OtherRealm(t *testing.T) {
	s := start(t, Config{})
	victim, err := s.FS().Attach(ctx, caller("r2", "alice"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	(&dir{t, victim}).put("f", "secret")
	for _, aname := range []string{"../r2/tree/f", "/../../r2/tree", "..", "r2/tree/f", "a/../../r2"} {
		if _, err := s.FS().Attach(ctx, caller("r1", "mallory"), aname, nil); err == nil {
			t.Errorf("Attach(%q) succeeds", aname)
		}
	}
	_, other := s.Realm("r2").Attach(ctx, caller("r1", "mallory"), "f", nil)
	_, none := s.Realm("r3").Attach(ctx, caller("r1", "mallory"), "f", nil)
	if kind(t, other, api.NotFound); other.Error() != none.Error() {
		t.Errorf("another realm's tree says %q, one that is not there %q", other, none)
	}
	// A File of one realm is not a place for another's files.
	root := s.as("mallory")
	root.put("mine", "x")
	kind(t, root.Rename(ctx, "mine", victim, "planted"), api.Unsupported)
	for _, id := range []string{"", "..", "a/b", "R", "r1/../r2", "x\x00"} {
		if _, err := s.FS().Attach(ctx, caller(id, "mallory"), "", nil); api.KindOf(err) != api.Invalid {
			t.Errorf("Attach in realm %q: %v, want Invalid", id, err)
		}
	}
}

// A directory and a link change places as fast as they can, by renames through
// the server and, worse than any tenant can do, with a real link on the disk.
// Whoever walks finds the directory or nothing.
func TestPROBES_N26_RenameRace(t *testing.T) {
	secret := t.TempDir()
	if err := os.WriteFile(filepath.Join(secret, "f"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, Config{})
	root := s.as("mallory")
	root.mkdir("d")
	root.put("d/f", "own")
	root.create("l", tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: secret})
	root.mkdir("planted")
	root.put("planted/f", "own")
	if err := os.Symlink(secret, s.on("r1", "real")); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var swap, look sync.WaitGroup
	until := func(f func()) func() {
		return func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		}
	}
	swap.Go(until(func() {
		root.Rename(ctx, "d", root.File, "x")
		root.Rename(ctx, "l", root.File, "d")
		root.Rename(ctx, "d", root.File, "l")
		root.Rename(ctx, "x", root.File, "d")
	}))
	swap.Go(until(func() {
		at, real := s.on("r1", "planted"), s.on("r1", "real")
		unix.Renameat2(unix.AT_FDCWD, at, unix.AT_FDCWD, real, unix.RENAME_EXCHANGE)
	}))
	var mu sync.Mutex
	seen := make(map[string]int)
	for i := range 2 {
		look.Go(func() {
			name := []string{"d", "planted"}[i]
			for range 400 {
				text := ""
				if f, err := root.find(name + "/f"); err == nil {
					if h, err := f.Open(ctx, rd); err == nil {
						text = content(t, h)
						h.Close()
					}
				}
				// Writes must not land outside either.
				if d, err := root.find(name); err == nil {
					d.Put(ctx, "w", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Data: []byte("w")})
				}
				mu.Lock()
				seen[text]++
				mu.Unlock()
			}
		})
	}
	look.Wait()
	close(stop)
	swap.Wait()
	if seen["secret"] > 0 || seen["own"] == 0 || seen["own"]+seen[""] != 800 {
		t.Errorf("the file was read so often: %v, want only own and nothing", seen)
	}
	if list, err := os.ReadDir(secret); err != nil || len(list) != 1 {
		t.Errorf("outside there is %v, %v, want f alone", list, err)
	}
}

// Directories are made deeper by renames than any path is long; the server
// stays able to count and to remove them.
func TestPROBES_N21_DeepTrees(t *testing.T) {
	s := start(t, Config{})
	root := s.as("mallory")
	name := fmt.Sprintf("%0200d", 7)
	chain := func(top string, n int) (last *dir) {
		at := root.mkdir(top)
		for range n {
			at = at.mkdir(name)
		}
		return at
	}
	const steps = 80 // 16,080 bytes
	bottoms := []*dir{chain("a", steps), chain("b", steps), chain("c", steps)}
	for _, d := range bottoms {
		d.put("f", "deep")
		d.has("f", "deep")
		if _, err := d.Create(ctx, name, tree.NewFile{Mode: tree.ModeDir | 0o700}); err != nil {
			t.Fatalf("the last directory that fits: %v", err)
		}
	}
	_, err := (&dir{t, bottoms[0].walk(name)}).Create(ctx, name, tree.NewFile{Mode: tree.ModeDir | 0o700})
	kind(t, err, api.TooLarge)
	for i, top := range []string{"c", "b"} {
		if err := root.Rename(ctx, top, bottoms[1-i].File, "x"); err != nil {
			t.Fatalf("Rename of %s: %v", top, err)
		}
	}
	_, err = bottoms[2].Attr(ctx) // 48 KB deep
	kind(t, err, api.TooLarge)
	want := s.counted()
	s = s.again()
	s.used(want.Bytes, want.Inodes)
	if want.Inodes != 3*(steps+3) {
		t.Errorf("there are %d files, want %d", want.Inodes, 3*(steps+3))
	}
	if err := s.RemoveRealm(ctx, "r1"); err != nil {
		t.Errorf("RemoveRealm: %v", err)
	}
	if list, err := os.ReadDir(filepath.Join(s.dir, "trash")); err != nil || len(list) != 0 {
		t.Errorf("the trash holds %v, %v", list, err)
	}
}

// Disk that was another file's reads as zeros.
func TestPROBES_P18_ReusedSpace(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("old", repeat("secret ", 1<<20))
	root.remove("old", false)
	root.create("new", tree.NewFile{Mode: tree.ModeFile | 0o600})
	h := root.open("new", rw)
	write(t, h, 1<<20-1, "x")
	root.put("shrunk", repeat("secret ", 1<<20))
	g := root.open("shrunk", rw)
	for _, size := range []int64{3, 1 << 20} {
		if _, err := g.(tree.Attrs).SetAttr(ctx, tree.SetAttr{Size: &size}); err != nil {
			t.Fatal(err)
		}
	}
	for name, got := range map[string]string{"a hole": content(t, h)[:1<<20-1], "a file cut and grown": content(t, g)[3:]} {
		for i := range len(got) {
			if got[i] != 0 {
				t.Errorf("%s has %q at %d, want zeros", name, got[i:min(i+10, len(got))], i)
				break
			}
		}
	}
}

func repeat(s string, n int) string {
	b := make([]byte, 0, n)
	for len(b) < n {
		b = append(b, s...)
	}
	return string(b[:n])
}
