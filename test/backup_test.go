package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What tenants wrote comes back in a cluster that knows nothing of the first
// one.
func TestBackupWipeRestore(t *testing.T) {
	n := StartNode(t)
	ctx := minute(t)
	if _, e, code := n.Ctl("realm", "create", "shop"); code != 0 {
		t.Fatal(e)
	}
	for _, realm := range []string{"default", "shop"} {
		names := n.Client(realm).Names()
		if err := names.Mkdir(ctx, "/d", 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := names.PutFile(ctx, "/d/f", []byte("of "+realm)); err != nil {
			t.Fatal(err)
		}
	}
	prog := n.program("testproc")
	eventually(t, 30*time.Second, "init add", func() (bool, string) {
		_, e, code := n.Ctl("init", "add", "keeper", "--", prog, "sleep")
		return code == 0, e
	})
	file := filepath.Join(t.TempDir(), "backup")
	if o, e, code := n.Ctl("backup", file); code != 0 || !strings.Contains(o, "keys") {
		t.Fatalf("backup: %q, %q", o, e)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the backup's mode is %v, %v; want 0600", st.Mode(), err)
	}
	if _, e, code := n.Ctl("restore", file); code != 1 || !strings.Contains(e, "--replace") {
		t.Errorf("restore over what is used: %d, %q", code, e)
	}
	n.Stop()
	if err := os.RemoveAll(filepath.Join(n.Dir, "data")); err != nil {
		t.Fatal(err)
	}
	n.Start()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	b[len(b)/2] ^= 1
	if err := os.WriteFile(bad, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, e, code := n.Ctl("restore", bad); code != 1 || !strings.Contains(e, "damaged") {
		t.Errorf("a damaged backup: %d, %q", code, e)
	}
	check := func(when string) {
		t.Helper()
		for _, realm := range []string{"default", "shop"} {
			eventually(t, 30*time.Second, when+": the file of "+realm, func() (bool, string) {
				c, err := n.connect(realm)
				if err != nil {
					return false, err.Error()
				}
				defer c.Close()
				b, _, err := c.Names().GetFile(minute(t), "/d/f")
				return err == nil && string(b) == "of "+realm, fmt.Sprintf("%q, %v\n%s", b, err, n.err)
			})
		}
		if o, e, code := n.Ctl("init", "ls"); code != 0 || !strings.Contains(o, "keeper") {
			t.Errorf("%s: init ls: %q, %q", when, o, e)
		}
	}
	if _, e, code := n.Ctl("restore", file); code != 0 {
		t.Fatalf("restore: %s", e)
	}
	check("restored")
	c := n.Client("shop")
	if _, err := c.Names().PutFile(minute(t), "/d/f", []byte("changed")); err != nil {
		t.Errorf("a restored file cannot be written: %v", err)
	}
	if _, e, code := n.Ctl("restore", "--replace", file); code != 0 {
		t.Fatalf("restore --replace: %s", e)
	}
	check("replaced")
}
