package export

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hugelgupf/p9/p9"

	"sigmaos/api"
	"sigmaos/naming/view/viewtest"
)

// local serves a realm at addr and says where.
func local(t *testing.T, addr string) string {
	t.Helper()
	r := viewtest.New(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	at, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- Local(ctx, LocalOptions{
			Addr: addr, Source: r, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Ready: func(addr string) { at <- addr },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Local ends with %v", err)
		}
	})
	select {
	case a := <-at:
		return a
	case err := <-done:
		done <- nil
		t.Fatalf("Local: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("Local is not ready")
	}
	return ""
}

func TestLocalServesItsUser(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "sock")
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": sock} {
		t.Run(network, func(t *testing.T) {
			conn, err := net.Dial(network, local(t, addr))
			ok(t, "dial", err)
			defer conn.Close()
			c, err := p9.NewClient(conn)
			ok(t, "version", err)
			root, err := c.Attach("/")
			ok(t, "attach", err)
			write(t, root, "file", "hello")
			if got := read(t, root, "file"); got != "hello" {
				t.Errorf("read gives %q", got)
			}
		})
	}
	if _, err := os.Lstat(sock); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// Another user of this machine is not served, over TCP as over a socket that is
// made open to all.
func TestLocalRefusesOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to be somebody else")
	}
	at := local(t, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(at)
	ok(t, "address", err)
	// bash's own TCP: a version message, and what is answered.
	ask := func(uid uint32) string {
		cmd := exec.Command("/bin/bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/`+port+`; printf '\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\x009P2000.L' >&3; timeout 5 head -c 7 <&3`)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, _ := cmd.Output()
		return string(out)
	}
	if got := ask(0); len(got) != 7 {
		t.Errorf("root is answered %q", got)
	}
	if got := ask(65534); got != "" {
		t.Errorf("another user is answered %q", got)
	}
}

func TestLocalListensNowhereElse(t *testing.T) {
	r := viewtest.New(t, nil)
	taken := local(t, filepath.Join(t.TempDir(), "sock"))
	for addr, want := range map[string]api.Kind{
		"0.0.0.0:0": api.Denied, "10.0.0.1:564": api.Denied, "[::]:0": api.Denied, "localhost": api.Invalid, "": api.Invalid, taken: api.Exists,
		"/does/not/exist/sock": api.Unavailable, "/" + strings.Repeat("x", 300): api.Unavailable,
	} {
		err := Local(t.Context(), LocalOptions{Addr: addr, Source: r, Log: slog.Default()})
		if api.KindOf(err) != want {
			t.Errorf("at %.30q: %v, want kind %q", addr, err, want)
		}
	}
}

func TestFindOwner(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, "listen", err)
	defer lis.Close()
	c, err := net.Dial("tcp", lis.Addr().String())
	ok(t, "dial", err)
	defer c.Close()
	if uid, err := tcpOwner(c.LocalAddr(), c.RemoteAddr()); err != nil || uid != os.Geteuid() {
		t.Errorf("the owner of our own socket: %d, %v", uid, err)
	}
	if uid, err := tcpOwner(c.LocalAddr(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}); err == nil {
		t.Errorf("the owner of a connection that is not there: %d", uid)
	}
	for _, line := range []string{"", "a b c", "0: zz:1 zz:2 01 0 0 0 0", strings.Repeat("f ", 9), "0: 0100007F:FFFFF 0100007F:0001 01 0 0 0 0"} {
		if uid, found := findOwner(line, c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()); found {
			t.Errorf("in %q: %d", line, uid)
		}
	}
}
