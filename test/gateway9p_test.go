package test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hugelgupf/p9/linux"
	"github.com/hugelgupf/p9/p9"
	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/outside"
)

// tokenOf is a realm's token, as a client of plain 9P shows it.
func (n *Node) tokenOf(t *testing.T, realm, user string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if _, e, code := n.Ctl("realm", "token", realm, "--user", user, "--file", file); code != 0 {
		t.Fatal(e)
	}
	f, err := outside.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return f.Token
}

// attach9P attaches with somebody else's client.
func attach9P(t *testing.T, addr, name string) (p9.File, net.Conn) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c, err := p9.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Attach(name)
	if err != nil {
		t.Fatalf("attach: %v", err)
	}
	return f, conn
}

func write9P(t *testing.T, dir p9.File, data string, path ...string) {
	t.Helper()
	_, d, err := dir.Walk(path[:len(path)-1])
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
	f, _, _, err := d.Create(path[len(path)-1], p9.WriteOnly, 0o644, 0, 0)
	if err != nil {
		t.Fatalf("create %q: %v", path, err)
	}
	for off := 0; off < len(data); {
		n, err := f.WriteAt([]byte(data[off:]), int64(off))
		if err != nil {
			t.Fatalf("write %q: %v", path, err)
		}
		off += n
	}
	if err := f.Close(); err != nil {
		t.Fatalf("close %q: %v", path, err)
	}
}

func read9P(t *testing.T, dir p9.File, path ...string) string {
	t.Helper()
	_, f, err := dir.Walk(path)
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
	if _, _, err := f.Open(p9.ReadOnly); err != nil {
		t.Fatalf("open %q: %v", path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		t.Fatalf("read %q: %v", path, err)
	}
	return string(b)
}

// Plain clients of 9P read and write a realm through the gateway: its root, its
// scratch, and what a proc serves.
func TestPlain9PThroughTheGateway(t *testing.T) {
	at := freePort(t)
	n := StartNode(t, "--gateway-9p", at)
	c := n.Client("default")
	names := c.Names()
	awaitScratch(t, names, 1)
	n.Running(c, &api.ProcDesc{Program: n.program("memfs"), Args: []string{"/mem"}})
	here, err := names.AbsPath(minute(t), "/ux/~local")
	if err != nil {
		t.Fatal(err)
	}
	node := strings.TrimPrefix(here, "/ux/")
	ann := n.tokenOf(t, "default", "ann")
	root, _ := attach9P(t, at, ann)
	large := strings.Repeat("a line of text\n", 4<<16)
	for _, tt := range []struct {
		data string
		path []string
	}{{"from outside", []string{"note"}}, {"from outside", []string{"mem", "note"}}, {large, []string{"ux", node, "large"}}} {
		write9P(t, root, tt.data, tt.path...)
		if got := read9P(t, root, tt.path...); got != tt.data {
			t.Errorf("%q: %d bytes, %.40q", tt.path, len(got), got)
		}
		b, i, err := names.GetFile(minute(t), "/"+strings.Join(tt.path, "/"))
		if err != nil || string(b) != tt.data || i.Owner != "ann" {
			t.Errorf("%q from inside: %d bytes, of %q, %v", tt.path, len(b), i.Owner, err)
		}
	}
	_, sym, err := root.Walk([]string{"ux", "~local"})
	if err != nil {
		t.Fatal(err)
	}
	if to, err := sym.Readlink(); err != nil || to != node {
		t.Errorf("~local is a link to %q, %v; want %q", to, err, node)
	}
	// Modes and owners count: ann is the token's user, whatever a client says.
	if _, err := names.PutFile(minute(t), "/private", []byte("the operator's"), sigma.WithMode(0o600)); err != nil {
		t.Fatal(err)
	}
	_, f, err := root.Walk([]string{"private"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Open(p9.ReadOnly); !errors.Is(err, linux.EACCES) {
		t.Errorf("somebody else's file: %v", err)
	}
	if _, err := root.Mkdir("bin", 0o755, 0, 0); err == nil {
		t.Error("a tenant makes /bin")
	}

	t.Run("diod", func(t *testing.T) {
		tool := func(name string, args ...string) string {
			path := "/usr/sbin/" + name
			if _, err := os.Stat(path); err != nil {
				t.Skipf("%s is not installed (apt-get install diod)", name)
			}
			out, e, code := n.Shell(path, append([]string{"-s", at}, args...)...)
			if code != 0 {
				t.Errorf("%s %q: %s", name, args, e)
			}
			return out
		}
		if got := tool("diodcat", "-a", ann, "note", "mem/note"); got != "from outsidefrom outside" {
			t.Errorf("diodcat gives %q", got)
		}
		if got := tool("diodcat", "-a", ann+"/ux/"+node, "large"); got != large {
			t.Errorf("diodcat gives %d bytes", len(got))
		}
		if got := tool("diodls", "-a", ann, "-l", "mem"); !strings.Contains(got, "note") {
			t.Errorf("diodls gives %q", got)
		}
	})
}

// A connection of plain 9P is of one realm and one user, and ends with its token:
// when the keys are replaced, and when the realm is removed.
func TestPROBES_N32_Plain9PEndsWithItsToken(t *testing.T) {
	at := freePort(t)
	n := StartNode(t, "--gateway-9p", at)
	shop := n.realm("shop")
	old := n.tokenOf(t, "shop", "ann")
	other, _ := attach9P(t, at, n.tokenOf(t, "default", "ann"))
	write9P(t, other, "of the realm default", "secret")
	root, conn := attach9P(t, at, old)
	write9P(t, root, "of shop", "mine")
	if _, _, err := root.Walk([]string{"secret"}); !errors.Is(err, linux.ENOENT) {
		t.Errorf("another realm's file: %v", err)
	}
	if _, e, code := n.Ctl("cluster", "rotate"); code != 0 {
		t.Fatal(e)
	}
	eventually(t, 20*time.Second, "the old keys are dropped", func() (bool, string) {
		_, e, code := n.Ctl("cluster", "rotate", "--drop-old")
		return code == 0, e
	})
	awaitEnd(t, "the session of the old keys", conn)
	root, conn = attach9P(t, at, n.tokenOf(t, "shop", "ann"))
	if got := read9P(t, root, "mine"); got != "of shop" {
		t.Errorf("the session of the new keys: %q", got)
	}
	if err := shop.RemoveRealm(minute(t), "shop"); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, "the session of a removed realm", conn)
}

// awaitEnd returns when the other side has ended c, of which nobody reads.
func awaitEnd(t *testing.T, what string, c net.Conn) {
	t.Helper()
	eventually(t, 20*time.Second, what+" ends", func() (bool, string) {
		rc, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			return true, ""
		}
		state := uint8(0)
		rc.Control(func(fd uintptr) {
			if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				state = i.State
			}
		})
		const established = 1
		return state != established, "it is established"
	})
}
