package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigmaos/runtime/cgroup"
)

// What a sigmad leaves that is killed between its first group and its last is named,
// and removed when that is asked for.
func TestLeftoversNameRootsWithoutNodes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Skip(err)
	}
	root := fmt.Sprintf("sigma-doc%d", os.Getpid())
	dir := filepath.Join(l.Dirs[""], root)
	if d, ok := l.Dirs["cpu"]; ok {
		dir = filepath.Join(d, root+".be")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	named := func() (n int) {
		for _, c := range leftovers(false, root) {
			if c.Level == "WARN" && strings.Contains(c.Text, "cgroups of "+root) {
				n++
			}
		}
		return n
	}
	if n := named(); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
	list, err := cgroup.Remains(l, root)
	if err != nil || len(list) != 1 {
		t.Fatalf("Remains = %v %v", list, err)
	}
	if c := remain(list[0], true); c.Level != "OK" || !strings.Contains(c.Text, "removed") {
		t.Errorf("cleaning says %v", c)
	}
	if _, err := os.Stat(dir); err == nil || named() > 0 {
		t.Errorf("%s is left: %v", dir, err)
	}
}
