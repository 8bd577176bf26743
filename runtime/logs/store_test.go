package logs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"sigmaos/internal/clock"
)

func TestSilentProcsCostNoFile(t *testing.T) {
	dir := t.TempDir()
	c := fake()
	s := open(t, dir, Limits{}, c)
	for i := range 100 {
		s.Proc("r", fmt.Sprint(i)).Close()
	}
	if e, _ := os.ReadDir(dir); len(e) != 0 || c.Pending() != 0 || s.Stats("r") != (Stats{}) {
		t.Errorf("silent procs left %v, %d timers, %+v", e, c.Pending(), s.Stats("r"))
	}
}

func TestWritesReachTheDiskByThemselves(t *testing.T) {
	dir := t.TempDir()
	c := fake()
	s := open(t, dir, Limits{}, c)
	s.Proc("r", "p").Write(1, []byte("hello\n"))
	if n, _ := disk(t, dir); n != 0 {
		t.Errorf("%d files before anybody wanted them", n)
	}
	c.Advance(flushAfter)
	if n, size := disk(t, dir); n != 1 || size != headerSize+6 || c.Pending() != 0 {
		t.Errorf("%d files, %d bytes, %d timers", n, size, c.Pending())
	}
}

func TestStreamsAndTails(t *testing.T) {
	c := fake()
	s := open(t, t.TempDir(), Limits{}, c)
	l := s.Proc("r", "p")
	for i, w := range []struct {
		stream int
		data   string
	}{
		{1, "one\ntwo\n"}, {2, "err one\n"}, {1, "thr"}, {1, "ee\n"}, {2, "err two\n"}, {1, "last"},
	} {
		l.Write(w.stream, []byte(w.data))
		c.Advance(time.Duration(i) * 30 * time.Millisecond) // some in one flush, some not
	}
	s.Proc("r", "other").Write(1, []byte("not mine\n"))
	s.Proc("r2", "p").Write(1, []byte("not my realm\n"))
	l.Close()
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"all", Options{}, "one\ntwo\nerr one\nthree\nerr two\nlast"},
		{"followed after the end", Options{Follow: true}, "one\ntwo\nerr one\nthree\nerr two\nlast"},
		{"stdout", Options{Stream: 1}, "one\ntwo\nthree\nlast"},
		{"stderr", Options{Stream: 2}, "err one\nerr two\n"},
		{"last line has no end", Options{TailLines: 1}, "last"},
		{"across a record", Options{TailLines: 3}, "three\nerr two\nlast"},
		{"within a record", Options{TailLines: 5}, "two\nerr one\nthree\nerr two\nlast"},
		{"of a stream", Options{TailLines: 1, Stream: 2}, "err two\n"},
		{"of the other", Options{TailLines: 2, Stream: 1}, "three\nlast"},
		{"more than there is", Options{TailLines: 100}, "one\ntwo\nerr one\nthree\nerr two\nlast"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := text(t, s, "r", "p", c.o); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	for n, want := range map[int]string{
		0: "", 3: "ast", 4: "last", 5: "last", 11: "last", 12: "err two\nlast", 13: "err two\nlast",
		1000: "one\ntwo\nerr one\nthree\nerr two\nlast",
	} {
		got, err := s.Tail("r", "p", n)
		if err != nil || string(got) != want {
			t.Errorf("Tail(%d) = %q, %v, want %q", n, got, err, want)
		}
	}
	if got := text(t, s, "r", "nobody", Options{Follow: true}); got != "" {
		t.Errorf("unknown proc has %q", got)
	}
}

func TestFloodHurtsOnlyTheFlooder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small, fake())
	s.Proc("r", "quiet").Write(1, []byte("still here\n"))
	var wrote []byte
	l := s.Proc("r", "flooder")
	for i := range 20_000 {
		line := fmt.Appendf(nil, "flood line %d\n", i)
		wrote = append(wrote, line...)
		l.Write(1+i%2, line)
	}
	l.Close()
	got := check(t, s, "r", "flooder", wrote)
	if kept := len(wrote) - got.dropped; got.markers != 1 || kept > int(small.ProcBytes) || kept < int(small.ProcBytes)/4 {
		t.Errorf("%d markers, %d bytes kept of %d", got.markers, kept, len(wrote))
	}
	all := text(t, s, "r", "flooder", Options{})
	if !strings.HasPrefix(all, "flood line 0\n") || !strings.HasSuffix(all, "flood line 19999\n") || !strings.Contains(all, " dropped here\n") {
		t.Errorf("beginning, marker and end expected, got %.100q … %.100q", all, all[len(all)-100:])
	}
	if got := text(t, s, "r", "flooder", Options{TailLines: 2}); got != "flood line 19998\nflood line 19999\n" {
		t.Errorf("last two lines: %q", got)
	}
	if got := text(t, s, "r", "quiet", Options{}); got != "still here\n" {
		t.Errorf("the quiet proc has %q", got)
	}
	if _, size := disk(t, dir); size > small.ProcBytes+1100 || size != s.Stats("r").Bytes {
		t.Errorf("%d bytes on disk, stats %+v", size, s.Stats("r"))
	}
	in := s.Info("r", "flooder")
	if st := s.Stats("r"); in.DroppedBytes != int64(got.dropped) || st.DroppedBytes != in.DroppedBytes || st.DroppedLines != in.DroppedLines || !in.Closed {
		t.Errorf("dropped %d, info %+v, stats %+v", got.dropped, in, st)
	}
}

func TestRealmLimitDropsTheOldestAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small, fake())
	const procs = 400
	wrote := map[string][]byte{}
	for i := range procs {
		p := fmt.Sprint("p", i)
		wrote[p] = bytes.Repeat(fmt.Appendf(nil, "line of %s\n", p), 50)
		l := s.Proc("r", p)
		l.Write(1, wrote[p])
		l.Close()
		if _, size := disk(t, dir); size > small.RealmBytes {
			t.Fatalf("%d bytes on disk, limit %d", size, small.RealmBytes)
		}
	}
	whole := 0
	for i := range procs {
		p := fmt.Sprint("p", i)
		c := check(t, s, "r", p, wrote[p])
		if c.dropped == 0 {
			whole++
		} else if whole > 0 {
			t.Errorf("%s is incomplete, an older one is not", p)
		}
	}
	if whole == 0 || whole == procs {
		t.Errorf("%d of %d are whole", whole, procs)
	}
	if got, want := text(t, s, "r", "p0", Options{}), "… 50 lines (550 B) dropped here\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrivateLanesPayFirst(t *testing.T) {
	s := open(t, t.TempDir(), small, fake())
	old := bytes.Repeat([]byte("old and small\n"), 100)
	s.Proc("r", "old").Write(1, old)
	for i := range 8 {
		l := s.Proc("r", fmt.Sprint("big", i))
		for range 30 {
			l.Write(1, bytes.Repeat([]byte("big\n"), 256))
		}
	}
	if c := check(t, s, "r", "old", old); c.dropped != 0 {
		t.Errorf("%d bytes of the small proc were dropped for big ones", c.dropped)
	}
	if st := s.Stats("r"); st.DroppedBytes == 0 {
		t.Error("nothing was dropped: the test shows nothing")
	}
}

func TestForgetAndRemoveRealm(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small, fake())
	for _, realm := range []string{"a", "b", "..", "x/y"} {
		for _, p := range []string{"p", "q"} {
			l := s.Proc(realm, p)
			l.Write(1, bytes.Repeat([]byte(realm+p+"\n"), 3000))
			l.Write(1, []byte("end\n"))
		}
	}
	if got, err := filepath.Glob(filepath.Join(dir, "*", "*.seg")); err != nil || len(got) < 8 {
		t.Fatalf("files %v %v", got, err)
	}
	before := s.Stats("a")
	s.Forget("a", "p")
	if text(t, s, "a", "p", Options{}) != "" || text(t, s, "a", "q", Options{TailLines: 1}) != "end\n" {
		t.Error("Forget took the wrong log")
	}
	if after := s.Stats("a"); after.Bytes >= before.Bytes || after.Procs != 1 {
		t.Errorf("stats before %+v, after %+v", before, after)
	}
	followed := make(chan error)
	l := s.Proc("a", "q")
	go func() {
		followed <- s.Read(context.Background(), "a", "q", Options{Follow: true}, func(Record) error { return nil })
	}()
	for _, realm := range []string{"a", "..", "x/y"} {
		s.RemoveRealm(realm)
	}
	if err := <-followed; err != nil {
		t.Errorf("follower of a removed realm: %v", err)
	}
	l.Write(1, []byte("too late\n"))
	e, _ := os.ReadDir(dir)
	if len(e) != 1 || e[0].Name() != "b" || s.Stats("a") != (Stats{}) {
		t.Errorf("left %v, %+v", e, s.Stats("a"))
	}
	if text(t, s, "b", "p", Options{TailLines: 1}) != "end\n" {
		t.Error("the other realm lost its log")
	}
	s.Proc("a", "q").Write(1, []byte("reborn\n"))
	if got := text(t, s, "a", "q", Options{}); got != "reborn\n" {
		t.Errorf("new realm of the same id has %q", got)
	}
}

func TestOpenRemovesAnEarlierRunOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{}, fake())
	s.Proc("a", "p").Write(1, []byte("x"))
	s.Proc("b", "p").Write(1, []byte("x"))
	s.Close()
	mine := filepath.Join(dir, "b", "notes.txt")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, _ := disk(t, dir); n != 3 {
		t.Fatalf("%d files, want Close to have flushed two", n)
	}
	s = open(t, dir, Limits{}, fake())
	if n, _ := disk(t, dir); n != 1 {
		t.Errorf("%d files left, want the foreign one", n)
	}
	if got := text(t, s, "a", "p", Options{}); got != "" {
		t.Errorf("read %q of an earlier run", got)
	}
	s.Close()
	s.Proc("a", "late").Write(1, []byte("x"))
	if n, _ := disk(t, dir); n != 1 {
		t.Error("a closed store wrote")
	}
	for _, bad := range []Limits{{RealmBytes: -1}, {Rate: -1}, {RealmBytes: 1 << 20, SegmentBytes: 1 << 20}} {
		if _, err := Open(dir, bad, fake(), quiet()); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
}

// tinyDisk is a tmpfs of the given size that is mounted nowhere: it goes with
// its descriptor.
func tinyDisk(t *testing.T, size string) string {
	t.Helper()
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Skipf("needs root and fsopen: %v", err)
	}
	defer unix.Close(fd)
	if err := unix.FsconfigSetString(fd, "size", size); err != nil {
		t.Fatal(err)
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		t.Fatal(err)
	}
	mfd, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(mfd) })
	return fmt.Sprintf("/proc/self/fd/%d/", mfd)
}

func TestFullDisk(t *testing.T) {
	dir := tinyDisk(t, "40k")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 28<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c := fake()
	s, err := Open(dir, Limits{}, c, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := s.Proc("r", "p")
	var wrote []byte
	write := func(n int) {
		for i := range n {
			line := fmt.Appendf(nil, "%d: %s\n", i, strings.Repeat("x", 1000))
			wrote = append(wrote, line...)
			l.Write(1, line)
			c.Advance(flushAfter)
		}
	}
	write(30)
	full := check(t, s, "r", "p", wrote)
	if full.dropped == 0 || full.dropped == len(wrote) {
		t.Fatalf("dropped %d of %d on a full disk", full.dropped, len(wrote))
	}
	if n := strings.Count(said.String(), "no space left"); n != 1 {
		t.Errorf("said %d times: %s", n, &said)
	}
	c.Advance(complainEvery)
	write(2)
	if n := strings.Count(said.String(), "no space left"); n != 2 {
		t.Errorf("after a minute said %d times", n)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	write(5)
	after := check(t, s, "r", "p", wrote)
	if lost := after.dropped - full.dropped; lost > 3*1010 || after.markers != 1 {
		t.Errorf("lost %d bytes more, %d markers; want only what was written to the full disk", lost, after.markers)
	}
	if got := text(t, s, "r", "p", Options{TailLines: 1}); !strings.HasPrefix(got, "4: x") {
		t.Errorf("last line %.20q", got)
	}
}

func TestSomebodyRemovesTheFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small, fake())
	l := s.Proc("r", "p")
	wrote := bytes.Repeat([]byte("12345678\n"), 100)
	l.Write(1, wrote)
	check(t, s, "r", "p", wrote)
	if err := os.RemoveAll(filepath.Join(dir, "r")); err != nil {
		t.Fatal(err)
	}
	if c := check(t, s, "r", "p", wrote); c.dropped != len(wrote) {
		t.Errorf("dropped %d of %d", c.dropped, len(wrote))
	}
}

// TestAgainstAllThatWasWritten runs random procs under small limits: whatever
// was dropped, readers get the rest in order and exact counts of what is missing.
func TestAgainstAllThatWasWritten(t *testing.T) {
	base := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		dir := filepath.Join(base, fmt.Sprint(runs))
		defer os.RemoveAll(dir)
		c := fake()
		s, err := Open(dir, Limits{RealmBytes: 24 << 10, ProcBytes: 8 << 10, SegmentBytes: 4 << 10}, c, quiet())
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		wrote := map[string][]byte{}
		procs := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				p := procs.Draw(rt, "proc")
				data := bytes.Repeat([]byte(p+"\n-"), rapid.IntRange(1, 800).Draw(rt, "size"))
				s.Proc("r", p).Write(rapid.IntRange(1, 2).Draw(rt, "stream"), data)
				wrote[p] = append(wrote[p], data...)
			},
			"time":   func(*rapid.T) { c.Advance(flushAfter) },
			"coarse": func(*rapid.T) { c.Advance(2 * coalesce) },
			"forget": func(rt *rapid.T) {
				p := procs.Draw(rt, "proc")
				if rapid.IntRange(0, 4).Draw(rt, "often") == 0 {
					s.Forget("r", p)
					delete(wrote, p)
				}
			},
			"read": func(rt *rapid.T) { p := procs.Draw(rt, "proc"); check(rt, s, "r", p, wrote[p]) },
			"tail": func(rt *rapid.T) {
				p := procs.Draw(rt, "proc")
				got := text(rt, s, "r", p, Options{TailLines: 3})
				want := string(wrote[p])
				for range 3 {
					i := strings.LastIndexByte(want, '\n')
					want = want[:max(i, 0)]
				}
				want = strings.TrimPrefix(string(wrote[p])[len(want):], "\n")
				// Where markers take the place of lines, others may follow.
				if !strings.Contains(got, "dropped") && got != want {
					rt.Fatalf("last lines %q, want %q", got, want)
				}
			},
			"": func(rt *rapid.T) {
				if n, size := disk(rt, dir); size > 24<<10 || s.Stats("r").Bytes != size {
					rt.Fatalf("%d bytes in %d files, stats %+v", size, n, s.Stats("r"))
				}
			},
		})
		for p, w := range wrote {
			check(rt, s, "r", p, w)
		}
	})
}

func BenchmarkHelloLine(b *testing.B) {
	s := open(b, b.TempDir(), Limits{}, clock.Real())
	line := []byte("hello, world\n")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l := s.Proc("r", fmt.Sprint(i))
		l.Write(1, line)
		l.Close()
		if i >= 1000 {
			s.Forget("r", fmt.Sprint(i-1000))
		}
	}
}
