package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/db"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// The test's program is the process too.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == ProcessName {
		os.Exit(Main())
	}
	leaktest.Main(m)
}

// session is an open session file that is used as a stream.
type session struct {
	t   testing.TB
	h   tree.Handle
	off int64
}

func open(t testing.TB, fs tree.FS) *session {
	t.Helper()
	root, err := fs.Attach(t.Context(), api.Caller{}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := root.Walk(t.Context(), db.SessionFile)
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Open(t.Context(), tree.OpenMode{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &session{t: t, h: h}
}

func (s *session) query(sql string) (string, error) {
	n, err := s.h.WriteAt(context.Background(), []byte(sql), s.off)
	s.off += int64(n)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	buf := make([]byte, 10_000)
	for {
		n, err := s.h.ReadAt(context.Background(), buf, s.off)
		s.off += int64(n)
		out.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return out.String(), nil
		}
		if err != nil {
			return out.String(), err
		}
	}
}

func (s *session) ok(sql, want string) {
	s.t.Helper()
	got, err := s.query(sql)
	if err != nil || got != want {
		s.t.Errorf("%s gives\n%s%v, want\n%s", sql, got, err, want)
	}
}

func (s *session) fails(sql string, kind api.Kind, text string) {
	s.t.Helper()
	_, err := s.query(sql)
	if api.KindOf(err) != kind || !strings.Contains(fmt.Sprint(err), text) {
		s.t.Errorf("%s: kind %q (%v), want %q and a text with %q", sql, api.KindOf(err), err, kind, text)
	}
}

func file(t testing.TB) *File {
	f, err := Open(filepath.Join(t.TempDir(), "main.sqlite"), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSession(t *testing.T) {
	f := file(t)
	fs := db.New(f, db.Limits{}, "")
	s := open(t, fs)
	s.ok("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, x REAL, b BLOB)", "{\"affected\":0}\n")
	s.ok("INSERT INTO t (name, x, b) VALUES ('one', 1.5, x'00ff'), ('zwei \"ü\" <&>', 2, NULL)", "{\"affected\":2}\n")
	s.ok("SELECT * FROM t ORDER BY id", `{"id":1,"name":"one","x":1.5,"b":"AP8="}`+"\n"+`{"id":2,"name":"zwei \"ü\" <&>","x":2.0,"b":null}`+"\n")
	s.ok("SELECT 1 AS a, 2 AS a, 3 AS a_2, 9223372036854775807 AS big", `{"a":1,"a_2":2,"a_2_2":3,"big":9223372036854775807}`+"\n")
	s.ok(`{"sql":"SELECT name FROM t WHERE id = ?1 OR name = ?2 ORDER BY id","args":[1,"x' OR '1'='1"]}`, "{\"name\":\"one\"}\n")
	s.ok("SELECT 1e999 AS inf", "{\"inf\":\"Infinity\"}\n")
	s.ok("SELECT * FROM t WHERE 0", "")

	// What is wrong has SQLite's own words, and the session goes on.
	s.fails("SELEC 1", api.Invalid, `near "SELEC": syntax error`)
	s.fails("SELECT * FROM absent", api.Invalid, "no such table: absent")
	s.fails("INSERT INTO t (id) VALUES (1)", api.Conflict, "UNIQUE constraint failed: t.id")
	s.fails("  \n", api.Invalid, "write a query first")
	s.fails("{\"sql\":1}", api.Invalid, "want SQL")
	s.fails(`{"sql":"SELECT 1","args":[[1]]}`, api.Invalid, "argument 1")
	s.fails("SELECT \x00", api.Invalid, "NUL")
	s.fails("ATTACH DATABASE '/etc/passwd' AS p", api.Invalid, "too many attached databases")
	s.fails("SELECT load_extension('x')", api.Invalid, "")
	s.ok("SELECT count(*) AS n FROM t", "{\"n\":2}\n")

	// A session has its own transaction; another sees what is committed.
	other := open(t, fs)
	if _, err := s.query("BEGIN"); err != nil {
		t.Fatal(err)
	}
	s.ok("DELETE FROM t", "{\"affected\":2}\n")
	other.ok("SELECT count(*) AS n FROM t", "{\"n\":2}\n")
	s.h.Close()
	other.ok("SELECT count(*) AS n FROM t", "{\"n\":2}\n")
}

func TestLimits(t *testing.T) {
	f := file(t)
	numbers := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n"
	s := open(t, db.New(f, db.Limits{Rows: 100}, ""))
	got, err := s.query(numbers)
	if n := strings.Count(got, "\n"); api.KindOf(err) != api.TooLarge || n != 100 {
		t.Errorf("with a limit of 100 rows: %d rows, %v", n, err)
	}
	s.ok("SELECT 1 AS a", "{\"a\":1}\n")
	s = open(t, db.New(f, db.Limits{Bytes: 10_000}, ""))
	if got, err = s.query(numbers); api.KindOf(err) != api.TooLarge || len(got) > 10_000 || len(got) < 9_000 {
		t.Errorf("with a limit of 10,000 bytes: %d bytes, %v", len(got), err)
	}
	s = open(t, db.New(f, db.Limits{Time: 2 * time.Second}, ""))
	s.fails(strings.Replace(numbers, "SELECT i FROM", "SELECT count(*) FROM", 1), api.Deadline, "longer than 2s")
	s.ok("SELECT 1 AS a", "{\"a\":1}\n")
	fs := db.New(f, db.Limits{Text: 100, Sessions: 2}, "")
	s = open(t, fs)
	s.fails(strings.Repeat("x", 101), api.TooLarge, "at most 100 bytes")
	s.ok("SELECT 1 AS a", "{\"a\":1}\n")
	open(t, fs)
	root, _ := fs.Attach(t.Context(), api.Caller{}, "", nil)
	at, _ := root.Walk(t.Context(), db.SessionFile)
	if _, err := at.Open(t.Context(), tree.OpenMode{Read: true, Write: true}); api.KindOf(err) != api.Busy {
		t.Errorf("a third session of two: %v", err)
	}
	// Giving up a query in the middle, by writing the next one.
	s = open(t, db.New(f, db.Limits{}, ""))
	s.h.WriteAt(t.Context(), []byte(numbers), 0)
	buf := make([]byte, 100)
	n, err := s.h.ReadAt(t.Context(), buf, int64(len(numbers)))
	if err != nil || n != 100 {
		t.Fatalf("the beginning of an endless result: %d, %v", n, err)
	}
	s.off = int64(len(numbers)) + 100
	s.ok("SELECT 2 AS a", "{\"a\":2}\n")
	s.fails("SELECT zeroblob(100000000)", api.TooLarge, "too big")
}

// dial is a tree behind the wire, of a realm's process.
func dial(t testing.TB, p *Pool, realm string) *ninep.Fid {
	t.Helper()
	c, release, err := p.Dial(t.Context(), realm)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := ninep.NewClient(t.Context(), c.(*net.UnixConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close(); release() })
	root, _, err := cl.Attach(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func remote(t testing.TB, p *Pool, realm string) *session {
	t.Helper()
	h, _, err := dial(t, p, realm).Open(t.Context(), tree.OpenMode{Read: true, Write: true}, db.SessionFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &session{t: t, h: h}
}

// A realm's process has its own file and no other, has bounds, comes back when it
// was killed, and ends when it is not used.
func TestProcessForEachRealm(t *testing.T) {
	dir := t.TempDir()
	run, err := os.MkdirTemp("", "db")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(run)
	p := NewPool(Config{Exe: "/proc/self/exe", Dir: dir, RunDir: filepath.Join(run, "db"), Disk: 4 << 20, Idle: 200 * time.Millisecond})
	defer p.Close()
	t.Run("apart", func(t *testing.T) {
		red, blue := remote(t, p, "red"), remote(t, p, "blue")
		red.ok("CREATE TABLE t (x); INSERT INTO t VALUES ('red')", "{\"affected\":1}\n")
		blue.fails("SELECT * FROM t", api.Invalid, "no such table")
		blue.fails("ATTACH '"+filepath.Join(dir, "red", "main.sqlite")+"' AS r", api.Invalid, "too many attached")
		blue.fails("VACUUM INTO '"+filepath.Join(dir, "red", "copy")+"'", api.Invalid, "")
		blue.ok("CREATE TABLE big (b)", "{\"affected\":0}\n")
		_, err = blue.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20) INSERT INTO big SELECT zeroblob(1000000) FROM n")
		if k := api.KindOf(err); k != api.Busy {
			t.Errorf("20 MB into a file of 4 MiB: %v, want Busy", err)
		}
		blue.ok("SELECT count(*) AS n FROM big", "{\"n\":0}\n")
		red.ok("SELECT x FROM t", "{\"x\":\"red\"}\n")
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PIDs()["red"]))
		if want := "CapEff:\t0000000000000000"; !strings.Contains(string(status), want) || !strings.Contains(string(status), "NoNewPrivs:\t1") {
			t.Errorf("the process has more rights than its files: %v\n%s", err, status)
		}
		proc, err := os.FindProcess(p.PIDs()["red"])
		if err != nil {
			t.Fatal(err)
		}
		proc.Kill()
		eventually(t, "the killed process to end", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			r := p.realms["red"]
			if r == nil {
				return true
			}
			_, over := r.Ended()
			return over
		})
		if _, err := red.query("SELECT 1"); err == nil {
			t.Error("a query to a killed process succeeds")
		}
	})
	t.Run("again", func(t *testing.T) { remote(t, p, "red").ok("SELECT x FROM t", "{\"x\":\"red\"}\n") })
	eventually(t, "an idle process to end", func() bool { return p.PIDs()["red"] == 0 })
	t.Run("one that hangs holds up nobody else", func(t *testing.T) {
		remote(t, p, "red").ok("SELECT x FROM t", "{\"x\":\"red\"}\n")
		hang(t, p.PIDs()["red"])
		removed := make(chan error, 1)
		go func() { removed <- p.Remove("red") }()
		eventually(t, "red to be taken out", func() bool { return p.PIDs()["red"] == 0 })
		remote(t, p, "blue").ok("SELECT 1 AS n", "{\"n\":1}\n")
		select {
		case err := <-removed:
			t.Fatalf("the process that hangs has ended already (%v); this shows nothing", err)
		default:
		}
		if err := <-removed; err != nil {
			t.Error(err)
		}
	})
	if got := p.Realms(); len(got) != 1 || got[0] != "blue" {
		t.Errorf("after red was removed there are %q", got)
	}
}

// hang stops a process and returns when each of its threads stands: until then one
// of them could still see that it is to end.
func hang(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("there is no process")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all threads to stop", func() bool {
		list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range list {
			stat, _ := os.ReadFile(name)
			if !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return len(list) > 0
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}
