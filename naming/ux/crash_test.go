package ux

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

const crashEnv = "UX_TEST_CRASH"

// crashing is a server in a process of its own, with clients that write until it
// is killed.
func crashing(dir string) {
	s, err := Open(Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for w := range 3 {
		go func() {
			at, err := s.FS().Attach(ctx, caller("r1", "alice"), "", nil)
			if err == nil {
				_, err = at.Create(ctx, "d", tree.NewFile{Mode: tree.ModeDir | 0o770})
			}
			c := chaos{rnd: rand.New(rand.NewPCG(uint64(w), uint64(time.Now().UnixNano()))), root: at}
			c.fail = func(format string, args ...any) { fmt.Printf(format+"\n", args...); os.Exit(1) }
			for i := 0; err == nil; i++ {
				c.step()
				line := fmt.Sprintf("%d.%06d %s\n", w, i, strings.Repeat("=", 2000))
				_, err = at.Put(ctx, "log", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Append: true, Data: []byte(line)})
				if err == nil {
					_, err = at.Put(ctx, "state", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Data: []byte(line)})
				}
				if w == 0 && i == 20 {
					fmt.Println("ready")
				}
			}
			fmt.Println(err)
			os.Exit(1)
		}()
	}
	time.Sleep(time.Minute)
	os.Exit(1)
}

// After kill -9 in the middle of anything: usage is what the disk has, versions
// go on upwards, no Put is there half.
func TestKilledServer(t *testing.T) {
	dir := t.TempDir()
	versions := make(map[uint64]uint64) // by id
	for round := range 4 {
		kill(t, dir, time.Duration(5+rand.IntN(60))*time.Millisecond)
		s := start(t, Config{Dir: dir})
		root := s.as("alice")
		for _, name := range []string{"log", "state"} {
			_, data, err := root.walk(name).(tree.Getter).Get(ctx, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(data)) {
				if len(line) != 2010 || !strings.HasSuffix(line, "=\n") {
					t.Errorf("round %d: %s has half a Put: %d bytes %.20q", round, name, len(line), line)
				}
			}
		}
		s.counted()
		for id, v := range root.versions() {
			if v < versions[id] {
				t.Errorf("round %d: file %d went from version %d to %d", round, id, versions[id], v)
			}
			versions[id] = v
		}
		if names, err := os.ReadDir(filepath.Join(dir, "realms/r1/tmp")); err != nil || len(names) != 0 {
			t.Errorf("tmp holds %v, %v", names, err)
		}
		h := root.open("log", rw) // left open: what is written is not closed properly
		before := root.attr("log").Version
		write(t, h, 0, "0")
		if a := root.attr("log"); a.Version <= before {
			t.Errorf("after a write version %d follows %d", a.Version, before)
		}
		versions = root.versions()
		s.Close()
	}
}

// kill starts a server and kills it while it works.
func kill(t *testing.T, dir string, after time.Duration) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), crashEnv+"="+dir)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var line string
	if fmt.Fscanln(out, &line); line != "ready" {
		t.Errorf("the server says %q", line)
	}
	time.Sleep(after) // not for order: it is to die anywhere in its work
	c.Process.Kill()
	c.Wait()
}

// versions returns the versions of all files in the directory and in d, by id.
func (d *dir) versions() map[uint64]uint64 {
	d.Helper()
	out := make(map[uint64]uint64)
	var visit func(f tree.File)
	visit = func(f tree.File) {
		a, err := f.Attr(ctx)
		if err != nil {
			d.Fatalf("Attr: %v", err)
		}
		out[a.ID] = a.Version
		if a.IsDir() {
			list, err := f.ReadDir(ctx, "", tree.MaxPage)
			if err != nil {
				d.Fatalf("ReadDir: %v", err)
			}
			for _, e := range list {
				if sub, err := f.Walk(ctx, e.Name); err == nil {
					visit(sub)
				}
			}
		}
	}
	visit(d.File)
	return out
}

// A crash with an open writer: nobody knows how often it wrote after the last
// version that was seen, so the file gets a new one.
func TestVersionsAfterACrash(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("closed", "x")
	root.put("open", "x")
	h := root.open("open", rw)
	write(t, h, 0, "y")
	copied := t.TempDir() // what a crash now would leave
	if out, err := exec.Command("cp", "-a", s.dir+"/.", copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v %s", err, out)
	}
	write(t, h, 0, "z")
	last, closed := root.attr("open"), root.attr("closed")
	after := start(t, Config{Dir: copied}).as("alice")
	if a := after.attr("open"); a.Version <= last.Version || a.ID != last.ID {
		t.Errorf("a crash took the open file from version %d to %d, id %d to %d", last.Version, a.Version, last.ID, a.ID)
	}
	if a := after.attr("closed"); a.Version != closed.Version {
		t.Errorf("a crash took the closed file from version %d to %d", closed.Version, a.Version)
	}
	if b := after.put("new", ""); b.ID <= last.Version {
		t.Errorf("a new file has id %d, which the crashed server may have given out", b.ID)
	}
}

// An append by Put that a crash cut short is as if it had not begun.
func TestUnfinishedAppend(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("f", "whole ")
	s.Close()
	path := s.on("r1", "f")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := readMeta(fd)
	if err != nil {
		t.Fatal(err)
	}
	m.dirty, m.undo = true, 6
	if err := writeMeta(fd, m); err != nil {
		t.Fatal(err)
	}
	unix.Write(fd, make([]byte, 10000))
	unix.Close(fd)
	s = start(t, Config{Dir: s.dir})
	root = s.as("alice")
	if list, err := root.ReadDir(ctx, "", 10); err != nil || len(list) != 1 {
		t.Errorf("ReadDir: %v, %v", list, err)
	}
	root.has("f", "whole ")
	s.used(4096, 1)
	s.counted()
	if _, err := root.Put(ctx, "f", tree.Put{Append: true, Data: []byte("again")}); err != nil {
		t.Fatal(err)
	}
	root.has("f", "whole again")
}

// A Put that is sent again after a restart is known by its file.
func TestReplayAfterARestart(t *testing.T) {
	s := start(t, Config{})
	add := func(id string) {
		t.Helper()
		_, err := s.as("alice").Put(ctx, "f", tree.Put{NewFile: tree.NewFile{Mode: 0o660}, Create: true, Append: true, Data: []byte(id), NoReplay: id})
		if err != nil {
			t.Fatalf("Put %s: %v", id, err)
		}
	}
	add("a")
	add("b")
	s = s.again()
	add("a")
	add("b")
	add("c")
	s.as("alice").has("f", "abc")
	once := func(how string) {
		t.Helper()
		_, err := s.as("alice").Put(ctx, "f", tree.Put{If: ptr(s.as("alice").attr("f").Version), Data: []byte(how), NoReplay: "d"})
		if err != nil {
			t.Fatalf("Put that replaces: %v", err)
		}
	}
	once("whole")
	s = s.again()
	once("sent again")
	s.as("alice").has("f", "whole")
	// Another user's id is another id.
	if _, err := s.as("bob").Put(ctx, "f", tree.Put{Append: true, Data: []byte("!"), NoReplay: "c"}); err != nil {
		t.Fatal(err)
	}
	s.as("alice").has("f", "whole!")
	// What was removed since is not made again.
	add("e")
	s.as("alice").remove("f", false)
	add("e")
	if _, err := s.as("alice").find("f"); api.KindOf(err) != api.NotFound {
		t.Errorf("a Put that is sent again makes the file again: %v", err)
	}
}

// The second sending may come while the first is under way.
func TestReplayAtOnce(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("f", "")
	for i := range 20 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				p := tree.Put{Append: true, Data: []byte("x"), NoReplay: fmt.Sprint(i)}
				if _, err := root.Put(ctx, "f", p); err != nil {
					t.Errorf("Put: %v", err)
				}
			})
		}
		wg.Wait()
	}
	root.has("f", repeat("x", 20))
}

func TestOneServerADirectory(t *testing.T) {
	s := start(t, Config{})
	_, err := Open(Config{Dir: s.dir})
	kind(t, err, api.Busy, "another server")
	s.as("alice").put("f", "x")
	s.Close()
	if err := os.Remove(filepath.Join(s.dir, "epoch")); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{Dir: s.dir})
	kind(t, err, api.Unavailable, "epoch", "restore it")
	if err := os.WriteFile(filepath.Join(s.dir, "epoch"), []byte("2 77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{Dir: s.dir})
	kind(t, err, api.Unavailable, "later version")
}
