package ninep

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
)

// tool finds a program of Debian's package diod.
func tool(t *testing.T, name string) string {
	for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
		if _, err := os.Stat(dir + name); err == nil {
			return dir + name
		}
	}
	t.Skipf("%s is not installed (apt-get install diod)", name)
	return ""
}

// listen serves fs on a port of loopback.
func listen(t *testing.T, fs tree.FS) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { Serve(ctx, conn, caller("alice"), fs, Options{}) })
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); wg.Wait() })
	return l.Addr().String()
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// diod's own tools list and read what we serve.
func TestDiodTools(t *testing.T) {
	ls, cat, load := tool(t, "diodls"), tool(t, "diodcat"), tool(t, "diodload")
	fs := newMem(t, memfs.Options{Mode: 0o777})
	root, err := fs.Attach(ctxOf(t), caller("alice"), "", nil)
	ok(t, "Attach", err)
	dir, err := root.Create(ctxOf(t), "dir", tree.NewFile{Mode: tree.ModeDir | 0o755})
	ok(t, "Create", err)
	big := strings.Repeat("a line of text\n", 30_000)
	for name, data := range map[string]string{"big": big, "small": "hello\n"} {
		_, err := dir.Put(ctxOf(t), name, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o640}, Create: true, Data: []byte(data)})
		ok(t, "Put", err)
	}
	for i := range 3000 {
		_, err := dir.Create(ctxOf(t), fmt.Sprintf("many-%04d", i), tree.NewFile{Mode: tree.ModeFile | 0o600})
		ok(t, "Create", err)
	}
	at := listen(t, fs)
	if got := run(t, cat, "-s", at, "-a", "/dir", "small"); got != "hello\n" {
		t.Errorf("diodcat small: %q", got)
	}
	if got := run(t, cat, "-s", at, "-a", "/", "-m", "8192", "dir/big"); got != big {
		t.Errorf("diodcat big gives %d bytes, want %d", len(got), len(big))
	}
	got := run(t, ls, "-s", at, "-a", "/", "-l", "-m", "4120", "dir")
	for _, want := range []string{"big", "small", "many-0000", "many-2999", "rw-r-----"} {
		if !strings.Contains(got, want) {
			t.Errorf("diodls -l has no %s:\n%.500s", want, got)
		}
	}
	if n := strings.Count(got, "many-"); n != 3000 {
		t.Errorf("diodls lists %d of 3000", n)
	}
	run(t, load, "-s", at, "-n", "4", "-r", "1", "-g")
}

// Our client against diod's server: a Remote of somebody else's tree.
func TestDiodServer(t *testing.T) {
	diod := tool(t, "diod")
	if os.Getuid() != 0 {
		t.Skip("diod needs root to serve without authentication")
	}
	cfg := treetest.Config{Symlinks: true, Rename: true, Unlinked: true, Append: true, Foreign: true}
	treetest.Run(t, cfg, func(t *testing.T) tree.FS {
		dir := t.TempDir()
		ok(t, "chmod", os.Chmod(dir, 0o777))
		sock := t.TempDir() + "/sock"
		cmd := exec.Command(diod, "-f", "-n", "-e", dir, "-l", sock, "-L", "stderr", "-c", "/dev/null")
		var log strings.Builder
		cmd.Stderr = &log
		ok(t, "start diod", cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return &diodFS{t: t, sock: sock, dir: dir}
	})
}

type diodFS struct {
	t         *testing.T
	sock, dir string
	once      sync.Once
	r         Remote
}

func (d *diodFS) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	d.once.Do(func() {
		var conn net.Conn
		eventually(d.t, "diod listens", func() bool {
			var err error
			conn, err = net.Dial("unix", d.sock)
			return err == nil
		})
		d.r = Remote{connectAs(d.t, conn, versionPlain)}
	})
	f, err := d.r.Attach(ctx, c, d.dir, fence)
	for name := range strings.SplitSeq(strings.Trim(aname, "/"), "/") {
		if err != nil || name == "" {
			break
		}
		f, err = f.Walk(ctx, name)
	}
	return f, err
}
