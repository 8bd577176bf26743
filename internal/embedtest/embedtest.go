// Package embedtest checks programs in C that are in the tree as bytes, so that a
// machine with Go alone can build all of it: a directory has the source, build.sh,
// what that made for each architecture, and compilers.txt, the compilers that made it.
package embedtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var compilers = map[string]string{"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}

// Same fails the test where the programs NAME_ARCH in dir are not what build.sh makes
// of their source; it skips where the compilers are not those that are recorded.
func Same(t *testing.T, dir, name string) {
	t.Helper()
	recorded, err := os.ReadFile(filepath.Join(dir, "compilers.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for arch, cc := range compilers {
		out, err := exec.Command(cc, "--version").Output()
		if err != nil {
			t.Skipf("no %s here", cc)
		}
		if version := strings.SplitN(string(out), "\n", 2)[0]; !strings.Contains(string(recorded), arch+" "+version+"\n") {
			t.Skipf("%s is another than the recorded one: %s", cc, version)
		}
	}
	tmp := t.TempDir()
	if out, err := exec.Command("sh", filepath.Join(dir, "build.sh"), tmp).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, out)
	}
	for _, file := range []string{name + "_amd64", name + "_arm64", "compilers.txt"} {
		is, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		should, err := os.ReadFile(filepath.Join(tmp, file))
		if err != nil || !bytes.Equal(is, should) {
			t.Errorf("%s is not what its source gives (%v): make generate", file, err)
		}
	}
}
