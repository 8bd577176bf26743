package ninep

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/hugelgupf/p9/linux"
	"github.com/hugelgupf/p9/p9"

	"sigmaos/naming/memfs"
)

// hugelgupf/p9's client against our server: somebody else's reading of the
// protocol.
func TestHugelgupfClient(t *testing.T) {
	conn := serve(t, caller("alice"), newMem(t, memfs.Options{Mode: 0o777}), Options{})
	c, err := p9.NewClient(conn, p9.WithMessageSize(16<<10))
	if err != nil {
		t.Fatal(err)
	}
	root, err := c.Attach("/")
	if err != nil {
		t.Fatal(err)
	}
	_, dir, err := root.Walk(nil)
	ok(t, "clone", err)
	f, _, _, err := dir.Create("file", p9.ReadWrite, 0o644, 0, 0)
	ok(t, "Create", err)
	data := slices.Repeat([]byte("0123456789"), 10_000)
	if n, err := f.WriteAt(data, 0); n != len(data) || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	got := make([]byte, len(data)+1)
	if n, err := f.ReadAt(got, 0); n != len(data) || err != nil && err != io.EOF || !slices.Equal(got[:n], data) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
	ok(t, "FSync", f.FSync())
	ok(t, "Close", f.Close())

	_, err = root.Mkdir("sub", 0o755, 0, 0)
	ok(t, "Mkdir", err)
	_, err = root.Symlink("file", "sym", 0, 0)
	ok(t, "Symlink", err)
	_, sub, err := root.Walk([]string{"sub"})
	ok(t, "Walk", err)
	for i := range 500 {
		_, d, err := sub.Walk(nil)
		ok(t, "clone", err)
		n, _, _, err := d.Create(fmt.Sprintf("entry-%03d", i), p9.WriteOnly, 0o600, 0, 0)
		ok(t, "Create", err)
		ok(t, "Close", n.Close())
	}
	_, open, err := sub.Walk(nil)
	ok(t, "clone", err)
	_, _, err = open.Open(p9.ReadOnly)
	ok(t, "Open of a directory", err)
	var names []string
	for offset := uint64(0); ; {
		list, err := open.Readdir(offset, 4000)
		ok(t, "Readdir", err)
		if len(list) == 0 {
			break
		}
		for _, d := range list {
			names = append(names, d.Name)
			offset = d.Offset
		}
	}
	if len(names) != 502 || names[0] != "." || names[1] != ".." || !slices.IsSorted(names[2:]) || names[501] != "entry-499" {
		t.Errorf("Readdir gives %d names, %q…", len(names), names[:min(len(names), 5)])
	}
	ok(t, "RenameAt", root.RenameAt("file", sub, "moved"))
	_, moved, err := root.Walk([]string{"sub", "moved"})
	ok(t, "Walk to what was renamed", err)
	_, valid, a, err := moved.GetAttr(p9.AttrMaskAll)
	ok(t, "GetAttr", err)
	if !valid.Size || a.Size != uint64(len(data)) || a.Mode.Permissions() != 0o644 || a.UID != p9.UID(UID("alice")) {
		t.Errorf("GetAttr: %+v", a)
	}
	ok(t, "SetAttr", moved.SetAttr(p9.SetAttrMask{Size: true, Permissions: true}, p9.SetAttr{Size: 5, Permissions: 0o600}))
	_, sym, err := root.Walk([]string{"sym"})
	ok(t, "Walk to a symlink", err)
	if to, err := sym.Readlink(); to != "file" || err != nil {
		t.Errorf("Readlink = %q, %v", to, err)
	}
	ok(t, "UnlinkAt", root.UnlinkAt("sym", 0))
	if err := root.UnlinkAt("sub", 0x200); !errors.Is(err, linux.ENOTEMPTY) {
		t.Errorf("UnlinkAt of a directory with entries: %v", err)
	}
	if _, _, err := root.Walk([]string{"none"}); !errors.Is(err, linux.ENOENT) {
		t.Errorf("Walk to nothing: %v", err)
	}
	s, err := root.StatFS()
	ok(t, "StatFS", err)
	if s.BlockSize == 0 || s.NameLength != 255 {
		t.Errorf("StatFS: %+v", s)
	}
	ok(t, "Close", c.Close())
}

func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
