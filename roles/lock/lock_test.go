package lock

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be another sigmad, which takes a lock and dies
// of what comes.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LOCK_TEST_CHILD"); dir != "" {
		i, err := Acquire(filepath.Join(dir, "run"), filepath.Join(dir, "data"))
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("locked\n")
		time.Sleep(time.Hour) // select{} alone is a deadlock, of which Go ends it
		runtime.KeepAlive(i)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "LOCK_TEST_CHILD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	b := make([]byte, 4096)
	n, err := out.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(string(b[:n]))
}

func TestSecondIsKeptOutUntilTheFirstIsGone(t *testing.T) {
	dir := t.TempDir()
	run, data := filepath.Join(dir, "run"), filepath.Join(dir, "data")
	first, said := child(t, dir)
	if said != "locked" {
		t.Fatal(said)
	}
	_, err := Acquire(run, data)
	for _, want := range []string{"another sigmad", data, "--name"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a second Acquire: %v, want a text with %q", err, want)
		}
	}
	// kill -9 leaves files behind; the lock goes, and the next one clears up.
	if err := os.WriteFile(filepath.Join(run, "sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first.Process.Kill()
	first.Wait()
	i, err := Acquire(run, data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(run, "sock")); err == nil {
		t.Error("the socket of the killed run is still there")
	}
	if err := i.Release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(run); err == nil {
		t.Error("the run directory is there after Release")
	}
	if _, err := os.Stat(data); err != nil {
		t.Errorf("the data directory is gone: %v", err)
	}
	again, err := Acquire(run, data)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

func TestOnlyOurOwnFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	run, data := filepath.Join(dir, "mine", "run"), filepath.Join(dir, "data")
	i, err := Acquire(run, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, "notes"), []byte("of the user"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.Release(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(run, "notes")); err != nil || string(b) != "of the user" {
		t.Errorf("a user's file: %q %v", b, err)
	}
	// Nor a directory above that is not ours.
	os.Remove(filepath.Join(run, "notes"))
	if i, err = Acquire(run, data); err != nil {
		t.Fatal(err)
	}
	i.Release()
	if _, err := os.Stat(filepath.Dir(run)); err != nil {
		t.Errorf("the directory above the run directory: %v", err)
	}
}

func TestBadDirectoriesAreRefusedAndNothingIsMade(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	link := filepath.Join(dir, "linked", "lock")
	os.Mkdir(filepath.Dir(link), 0o700)
	os.Symlink("/etc/passwd", link)
	for name, tt := range map[string]struct{ run, data string }{
		"relative data":     {dir + "/run", "data"},
		"relative run":      {"run", dir + "/data"},
		"the root":          {dir + "/run", "/"},
		"data is a file":    {dir + "/run", file + "/x"},
		"a link for a lock": {dir + "/run", filepath.Dir(link)},
	} {
		if i, err := Acquire(tt.run, tt.data); err == nil {
			t.Errorf("%s: taken", name)
			i.Release()
		}
		if _, err := os.Stat(dir + "/run"); err == nil {
			t.Errorf("%s: the run directory was made", name)
		}
	}
}
