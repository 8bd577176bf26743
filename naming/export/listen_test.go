package export

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hugelgupf/p9/linux"
	"github.com/hugelgupf/p9/p9"
)

// Somebody else's client reads and writes a realm, and what is served behind its
// links.
func TestHugelgupfClientReadsAndWrites(t *testing.T) {
	w := newWorld(t, nil)
	root := w.attach("v4.ann")
	for _, at := range [][]string{nil, {"box"}} {
		_, dir, err := root.Walk(at)
		ok(t, "walk", err)
		write(t, dir, "file", "hello")
		if got := read(t, root, append(at, "file")...); got != "hello" {
			t.Errorf("%q: file has %q", at, got)
		}
		_, _, err = dir.Walk([]string{"none"})
		if !errors.Is(err, linux.ENOENT) {
			t.Errorf("%q: walk to nothing: %v", at, err)
		}
		_, err = dir.Mkdir("sub", 0o755, 0, 0)
		ok(t, "mkdir", err)
		ok(t, "rename", dir.RenameAt("file", dir, "sub-file"))
		_, sub, err := dir.Walk([]string{"sub"})
		ok(t, "walk", err)
		ok(t, "rename into a directory", dir.RenameAt("sub-file", sub, "moved"))
		_, moved, err := sub.Walk([]string{"moved"})
		ok(t, "walk", err)
		ok(t, "truncate", moved.SetAttr(p9.SetAttrMask{Size: true}, p9.SetAttr{Size: 2}))
		if got := read(t, sub, "moved"); got != "he" {
			t.Errorf("%q: after truncate %q", at, got)
		}
		_, err = dir.Symlink("sub/moved", "sym", 0, 0)
		ok(t, "symlink", err)
		_, sym, err := dir.Walk([]string{"sym"})
		ok(t, "walk", err)
		if to, err := sym.Readlink(); to != "sub/moved" || err != nil {
			t.Errorf("%q: readlink gives %q, %v", at, to, err)
		}
		var want []string
		for i := range 300 {
			want = append(want, fmt.Sprintf("many-%03d", i))
			write(t, sub, want[i], "")
		}
		if got := list(t, sub); !slices.Equal(got, append(want, "moved")) {
			t.Errorf("%q: %d names are listed: %.100q", at, len(got), got)
		}
		if err := dir.UnlinkAt("sub", 0x200); !errors.Is(err, linux.ENOTEMPTY) {
			t.Errorf("%q: remove of a directory with entries: %v", at, err)
		}
		ok(t, "remove", dir.UnlinkAt("sym", 0))
	}
	// Between servers nothing is renamed.
	_, box, err := root.Walk([]string{"box"})
	ok(t, "walk", err)
	write(t, root, "here", "x")
	if err := root.RenameAt("here", box, "there"); !errors.Is(err, linux.EXDEV) {
		t.Errorf("rename to another server: %v", err)
	}
	// A part of the realm, by the name behind the token.
	if got := read(t, w.attach("v4.bob/box/sub"), "moved"); got != "he" {
		t.Errorf("by way of TOKEN/PATH: %q", got)
	}
}

// list gives the names of a directory but . and .. in order.
func list(t *testing.T, dir p9.File) (out []string) {
	t.Helper()
	_, d, err := dir.Walk(nil)
	ok(t, "clone", err)
	_, _, err = d.Open(p9.ReadOnly)
	ok(t, "open", err)
	defer d.Close()
	for offset := uint64(0); ; {
		page, err := d.Readdir(offset, 8000)
		ok(t, "readdir", err)
		if len(page) == 0 {
			return out
		}
		for _, e := range page {
			if offset = e.Offset; e.Name != "." && e.Name != ".." {
				out = append(out, e.Name)
			}
		}
	}
}

// Debian's tools, which are written in C to diod's reading of the protocol.
func TestDiodToolsReadThroughTheGateway(t *testing.T) {
	w := newWorld(t, nil)
	big := strings.Repeat("a line of text\n", 20_000)
	root := w.attach("v4.ann")
	_, box, err := root.Walk([]string{"box"})
	ok(t, "walk", err)
	write(t, box, "small", "hello\n")
	for i := 0; i < len(big); i += 100_000 {
		write(t, box, fmt.Sprint("big-", i/100_000), big[i:min(i+100_000, len(big))])
	}
	if got := tool(t, "diodcat", "-s", w.Addr(), "-a", "v4.ann", "box/small"); got != "hello\n" {
		t.Errorf("diodcat gives %q", got)
	}
	if got := tool(t, "diodcat", "-s", w.Addr(), "-a", "v4.ann/box", "-m", "8192", "big-0", "big-1", "big-2"); got != big {
		t.Errorf("diodcat gives %d bytes, want %d", len(got), len(big))
	}
	got := tool(t, "diodls", "-s", w.Addr(), "-a", "v4.ann", "-l", "/", "box")
	for _, want := range []string{"small", "big-0", "drwxrwxrwx"} {
		if !strings.Contains(got, want) {
			t.Errorf("diodls has no %q:\n%s", want, got)
		}
	}
}

// A link is what the realm says that it is: a service outside has no files, though
// the address were one of ours.
func TestOnlyServersLookLikeDirectories(t *testing.T) {
	w := newWorld(t, nil)
	root := w.attach("v4.ann")
	for name, dir := range map[string]bool{"box": true, "outside": false} {
		qids, _, err := root.Walk([]string{name})
		ok(t, "walk", err)
		if got := qids[0].Type&p9.TypeDir != 0; got != dir {
			t.Errorf("%s is a directory: %v, want %v", name, got, dir)
		}
	}
	if qids, _, err := root.Walk([]string{"outside", "file"}); err == nil && len(qids) == 2 {
		t.Error("there is something in a published service")
	}
}

func TestPROBES_N32_TokensAtThePlainGateway(t *testing.T) {
	w := newWorld(t, nil)
	for _, name := range []string{"", "/", "/box", "v4.none", "v4.ann2/box", "V4.ANN", "v4.ann\x00", strings.Repeat("v4.", 5000)} {
		c, _ := w.client()
		if _, err := c.Attach(name); !errors.Is(err, linux.EACCES) && !errors.Is(err, linux.ENAMETOOLONG) {
			t.Errorf("attach to %.20q: %v", name, err)
		}
		if _, err := c.Attach("v4.ann"); err != nil { // the right one after a wrong one
			t.Errorf("after %.20q: %v", name, err)
		}
		if _, err := c.Attach("v4.bob"); !errors.Is(err, linux.EACCES) {
			t.Errorf("a connection of ann's as bob: %v", err)
		}
	}
	// With a few wrong ones the connection ends.
	c, conn := w.client()
	for i := range maxWrong + 1 {
		if _, err := c.Attach(fmt.Sprint("v4.wrong-", i)); err == nil {
			t.Fatal("a wrong token is good")
		}
	}
	ends(t, "many wrong tokens", conn)
}

// What was good when the client attached is looked at again.
func TestASessionEndsWithItsToken(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Recheck = 20 * time.Millisecond })
	c, conn := w.client()
	root, err := c.Attach("v4.ann")
	ok(t, "attach", err)
	_, d, err := root.Walk(nil)
	ok(t, "clone", err)
	f, _, _, err := d.Create("open", p9.ReadWrite, 0o644, 0, 0)
	ok(t, "create", err)
	// Another one of the same user takes its place.
	_, err = c.Attach("v4.ann-2")
	ok(t, "attach with a new token", err)
	w.revoke("v4.ann")
	for n := w.checks.Load(); w.checks.Load() < n+5; {
		time.Sleep(time.Millisecond)
	}
	_, err = f.WriteAt([]byte("x"), 0)
	ok(t, "write after the old token's end", err)
	bobs, _ := w.client()
	other, err := bobs.Attach("v4.bob")
	ok(t, "attach", err)
	w.revoke("v4.ann-2")
	eventually(t, "the end of ann's session", func() bool {
		_, err := f.WriteAt([]byte("y"), 0)
		return err != nil
	})
	eventually(t, "the end of what it held", func() bool { return w.open.Load() == 1 })
	conn.Close()
	if got := read(t, other, "open"); got == "" {
		t.Error("somebody else's session does not go on")
	}
	again, _ := w.client()
	if _, err := again.Attach("v4.ann-2"); !errors.Is(err, linux.EACCES) {
		t.Errorf("with the revoked token: %v", err)
	}
}

func TestStrangersAtThePlainGatewayAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AttachTime, c.Strangers, c.StrangersEach, c.ClientsEach = time.Second, 8, 4, 2 })
	from := func(addr string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
		c, err := d.Dial("tcp", w.Addr())
		ok(t, "dial", err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	var silent []net.Conn
	for range 4 {
		silent = append(silent, from("127.0.0.2"))
	}
	eventually(t, "four strangers", func() bool { return w.strange.Count() == 4 })
	ends(t, "a fifth of the same address", from("127.0.0.2"))
	ends(t, "one from elsewhere", from("127.1.0.1"))
	root := w.attach("v4.ann") // from another address
	for _, c := range silent {
		ends(t, "one that shows no token", c)
	}
	garbage := from("127.0.0.2")
	garbage.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	ends(t, "garbage", garbage)
	w.attach("v4.bob")
	c, _ := w.client()
	if _, err := c.Attach("v4.ann"); !errors.Is(err, linux.EDQUOT) {
		t.Errorf("a third one of the realm: %v", err)
	}
	w.attach("v4.eve")
	write(t, root, "file", "after AttachTime")
}

// walk begins a walk and tells how it ended.
func walk(dir p9.File, names ...string) <-chan error {
	out := make(chan error, 1)
	go func() {
		qids, _, err := dir.Walk(names)
		if err == nil && len(qids) < len(names) {
			err = linux.ENOENT
		}
		out <- err
	}()
	return out
}

// Close ends everything and waits for it, also for a server that does not answer.
func TestPlainGatewayCloses(t *testing.T) {
	w := newWorld(t, nil)
	root := w.attach("v4.ann")
	stranger := w.dial()
	w.realm.Tree("box").Mute()
	walked := walk(root, "box", "file")
	eventually(t, "a dial", func() bool { return w.realm.Tree("box").Dials() > 0 })
	w.Close()
	if err := <-walked; err == nil {
		t.Error("the walk succeeded")
	}
	ends(t, "a stranger", stranger)
	if c, err := net.Dial("tcp", w.Addr()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

// A server behind a link that does not answer costs who asks for it a bound, and
// nobody else anything.
func TestFAULTS_F21_AMuteServerBehindALink(t *testing.T) {
	w := newWorld(t, nil)
	root := w.attach("v4.ann")
	w.realm.Tree("box").Mute()
	stuck := walk(root, "box", "file")
	eventually(t, "a dial", func() bool { return w.realm.Tree("box").Dials() > 0 })
	write(t, root, "meanwhile", "x")
	select {
	case err := <-stuck:
		if err == nil {
			t.Error("the walk succeeded")
		}
	case <-time.After(30 * time.Second):
		t.Error("the walk does not end")
	}
}
