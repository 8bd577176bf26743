package logs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/internal/clock"
)

// slot is the two pipes of one, with their write ends.
type slot struct {
	*Pump
	w [2]*os.File
}

func newSlot(t testing.TB, s *Store) *slot {
	t.Helper()
	sl := &slot{}
	var r [2]*os.File
	for i := range r {
		var fd [2]int
		if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(fd[0], true); err != nil {
			t.Fatal(err)
		}
		r[i] = os.NewFile(uintptr(fd[0]), "read end")
		// The write end blocks, as a proc's does.
		sl.w[i] = os.NewFile(uintptr(fd[1]), "write end")
		t.Cleanup(func() { sl.w[i].Close() })
	}
	p, err := NewPump(r[0], r[1], s)
	if err != nil {
		t.Fatal(err)
	}
	sl.Pump = p
	t.Cleanup(func() { p.Close() })
	return sl
}

func (sl *slot) print(t testing.TB, stream int, text string) {
	t.Helper()
	if _, err := sl.w[stream-1].WriteString(text); err != nil {
		t.Error(err)
	}
}

func (sl *slot) attach(t testing.TB, l *Log) {
	t.Helper()
	if err := sl.Attach(l); err != nil {
		t.Error(err)
	}
}

func (sl *slot) detach(t testing.TB) {
	t.Helper()
	if err := sl.Detach(); err != nil {
		t.Error(err)
	}
}

// TestEveryByteGoesToItsProc has slots run thousands of procs one after another
// that write just before they end.
func TestEveryByteGoesToItsProc(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	const procs, slots = 3000, 3
	var wg sync.WaitGroup
	for k := range slots {
		sl := newSlot(t, s)
		wg.Go(func() {
			for i := range procs {
				l := s.Proc("r", fmt.Sprintf("%d/%d", k, i))
				sl.attach(t, l)
				if i%3 > 0 {
					sl.print(t, 1, fmt.Sprintf("out of %d/%d\n", k, i))
				}
				if i%3 > 1 {
					sl.print(t, 2, fmt.Sprintf("err of %d/%d\n", k, i))
					sl.print(t, 2, "more\n")
				}
				sl.detach(t)
				l.Close()
			}
		})
	}
	wg.Wait()
	for k := range slots {
		for i := range procs {
			p := fmt.Sprintf("%d/%d", k, i)
			var out, err string
			if i%3 > 0 {
				out = "out of " + p + "\n"
			}
			if i%3 > 1 {
				err = "err of " + p + "\nmore\n"
			}
			if got := text(t, s, "r", p, Options{Stream: 1}); got != out {
				t.Fatalf("stdout of %s: %q, want %q", p, got, out)
			}
			if got := text(t, s, "r", p, Options{Stream: 2}); got != err {
				t.Fatalf("stderr of %s: %q, want %q", p, got, err)
			}
		}
	}
}

func TestRealProcesses(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	sl := newSlot(t, s)
	for i, n := range []int{10, 0, 40_000, 1} {
		p := fmt.Sprint(i)
		l := s.Proc("r", p)
		sl.attach(t, l)
		cmd := exec.Command("seq", fmt.Sprint(n))
		cmd.Stdout, cmd.Stderr = sl.w[0], sl.w[1]
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		sl.detach(t)
		l.Close()
		var want strings.Builder
		for j := range n {
			fmt.Fprintln(&want, j+1)
		}
		if got := text(t, s, "r", p, Options{}); got != want.String() {
			t.Errorf("seq %d: %d bytes, want %d", n, len(got), want.Len())
		}
	}
}

func TestOutputBetweenProcsIsNobodys(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	sl := newSlot(t, s)
	sl.print(t, 1, "before the first\n")
	first, second := s.Proc("r", "first"), s.Proc("r", "second")
	sl.attach(t, first)
	sl.print(t, 1, "first\n")
	sl.detach(t)
	sl.print(t, 1, "between\n")
	sl.attach(t, second)
	sl.print(t, 1, "second\n")
	sl.detach(t)
	for _, p := range []string{"first", "second"} {
		if got := text(t, s, "r", p, Options{}); got != p+"\n" {
			t.Errorf("%s has %q", p, got)
		}
	}
}

// TestFloodIsLimited counts on simulated time: never more than the burst and the
// rate, and all of it at the end.
func TestFloodIsLimited(t *testing.T) {
	c := fake()
	const burst, rate = 100_000, 50_000
	s := open(t, t.TempDir(), Limits{Rate: rate, Burst: burst}, c)
	flooder, other := newSlot(t, s), newSlot(t, s)
	l, quiet := s.Proc("r", "flooder"), s.Proc("r", "quiet")
	flooder.attach(t, l)
	other.attach(t, quiet)

	flood := bytes.Repeat([]byte("flood!\n"), 100_000)
	written := make(chan struct{})
	go func() { // blocks as a proc would
		defer close(written)
		if _, err := flooder.w[0].Write(flood); err != nil {
			t.Error(err)
		}
	}()
	taken := func() int { return int(s.Info("r", "flooder").Bytes[0]) }
	const step = 20 * time.Millisecond
	for passed := time.Duration(0); taken() < 6*burst; passed += step {
		if got, most := taken(), burst+int(rate*passed/time.Second); got > most {
			t.Fatalf("took %d bytes in %v, want at most %d", got, passed, most)
		}
		c.Advance(step)
		time.Sleep(100 * time.Microsecond) // the pump's goroutine has its turn
	}
	other.print(t, 1, "unharmed\n")
	other.detach(t)
	if got := text(t, s, "r", "quiet", Options{}); got != "unharmed\n" {
		t.Errorf("the neighbour has %q", got)
	}
	// What remains comes at its rate while the proc lives, and what is in the
	// pipe at once when it has ended.
	for taken() < len(flood)-32<<10 {
		c.Advance(time.Second)
		time.Sleep(time.Millisecond)
	}
	<-written
	flooder.detach(t)
	l.Close()
	if got := taken(); got != len(flood) {
		t.Errorf("got %d bytes, want %d", got, len(flood))
	}
	check(t, s, "r", "flooder", flood)
}

func TestAttachEndsThePauseOfTheLastProc(t *testing.T) {
	c := fake() // time never passes
	s := open(t, t.TempDir(), Limits{Rate: 1, Burst: 1000}, c)
	sl := newSlot(t, s)
	l := s.Proc("r", "flooder")
	sl.attach(t, l)
	sl.print(t, 1, strings.Repeat("x", 5000))
	c.Await(2) // flush and pause
	sl.detach(t)
	if got := s.Info("r", "flooder").Bytes[0]; got != 5000 {
		t.Errorf("%d bytes of 5000", got)
	}
	next := s.Proc("r", "next")
	sl.attach(t, next)
	sl.print(t, 1, "hello\n")
	for s.Info("r", "next").Bytes[0] == 0 { // must come without Detach
		time.Sleep(time.Millisecond)
	}
	if got := text(t, s, "r", "next", Options{}); got != "hello\n" {
		t.Errorf("next has %q", got)
	}
}

func TestDetachNoticesALivingWriter(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	sl := newSlot(t, s)
	sl.attach(t, s.Proc("r", "p"))
	cmd := exec.Command("yes")
	cmd.Stdout = sl.w[0]
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for sl.Detach() == nil { // it may find the pipe empty by chance
		_ = sl.Attach(s.Proc("r", "p")) // may notice, too
	}
}

func TestPumpOutlivesTheWriters(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	sl := newSlot(t, s)
	l := s.Proc("r", "p")
	sl.attach(t, l)
	sl.print(t, 2, "last words\n")
	sl.w[0].Close()
	sl.w[1].Close()
	sl.wg.Wait() // both goroutines end with their pipes
	sl.detach(t)
	if got := text(t, s, "r", "p", Options{}); got != "last words\n" {
		t.Errorf("got %q", got)
	}
	if err := sl.Close(); err != nil {
		t.Error(err)
	}
	if err := sl.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseKeepsWhatWasWritten(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	sl := newSlot(t, s)
	sl.attach(t, s.Proc("r", "p"))
	sl.print(t, 1, "kept\n")
	if err := sl.Close(); err != nil {
		t.Error(err)
	}
	if got := text(t, s, "r", "p", Options{}); got != "kept\n" {
		t.Errorf("got %q", got)
	}
}

func TestNewPumpWantsPollableFiles(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := NewPump(f, f, s); !errors.Is(err, os.ErrNoDeadline) {
		t.Errorf("got %v, want %v", err, os.ErrNoDeadline)
	}
}

func TestSilentProcsAllocateNothing(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector sync.Pool forgets on purpose")
	}
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	sl := newSlot(t, s)
	l := s.Proc("r", "p")
	if n := testing.AllocsPerRun(100, func() { sl.attach(t, l); sl.detach(t) }); n != 0 {
		t.Errorf("%v allocations for Attach and Detach", n)
	}
}

func BenchmarkSilentProc(b *testing.B) {
	s := open(b, b.TempDir(), Limits{}, clock.Real())
	sl := newSlot(b, s)
	b.ReportAllocs()
	for b.Loop() {
		l := s.Proc("r", "p")
		sl.attach(b, l)
		sl.detach(b)
		l.Close()
	}
}

func BenchmarkProcWithALine(b *testing.B) {
	s := open(b, b.TempDir(), Limits{}, clock.Real())
	sl := newSlot(b, s)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := fmt.Sprint(i)
		l := s.Proc("r", p)
		sl.attach(b, l)
		sl.print(b, 1, "hello, world\n")
		sl.detach(b)
		l.Close()
		s.Forget("r", p)
	}
}
