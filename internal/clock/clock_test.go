package clock

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRealMonotonicIsSharedBetweenProcesses(t *testing.T) {
	before := Real().Monotonic()
	// /proc/uptime counts suspend too, so it is at least as much.
	out, err := exec.Command("cat", "/proc/uptime").Output()
	if err != nil {
		t.Fatal(err)
	}
	up, err := strconv.ParseFloat(strings.Fields(string(out))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	// uptime is printed in hundredths
	if got := time.Duration((up + 0.01) * float64(time.Second)); got < before {
		t.Errorf("uptime %v read after Monotonic %v: they have different origins", got, before)
	}
	if after := Real().Monotonic(); after <= before {
		t.Errorf("Monotonic went from %v to %v", before, after)
	}
}

func TestRealAfterFunc(t *testing.T) {
	done := make(chan struct{})
	Real().AfterFunc(0, func() { close(done) })
	<-done
	never := Real().AfterFunc(time.Hour, func() { t.Error("stopped timer ran") })
	if !never.Stop() || never.Stop() {
		t.Error("Stop must be true once and then false")
	}
}

func TestFakeRunsDueFunctionsInOrder(t *testing.T) {
	start := time.Unix(1000, 0)
	f := NewFake(start)
	var got []string
	say := func(s string) func() {
		return func() { got = append(got, s+"@"+f.Now().Sub(start).String()) }
	}
	f.AfterFunc(2*time.Second, say("b"))
	f.AfterFunc(time.Second, func() {
		say("a")()
		f.AfterFunc(time.Second, say("c")) // due at the same time as b, but later made
	})
	f.AfterFunc(time.Minute, say("late"))
	stopped := f.AfterFunc(time.Second, say("stopped"))
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop must be true once and then false")
	}
	m := f.Monotonic()
	f.Advance(999 * time.Millisecond)
	if len(got) != 0 {
		t.Fatalf("ran early: %v", got)
	}
	f.Advance(4001 * time.Millisecond)
	if want := []string{"a@1s", "b@2s", "c@2s"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d := f.Monotonic() - m; d != 5*time.Second {
		t.Errorf("Monotonic moved by %v", d)
	}
	if f.Pending() != 1 {
		t.Errorf("%d pending, want 1", f.Pending())
	}
}

func TestFakeAwait(t *testing.T) {
	f := NewFake(time.Unix(0, 0))
	rang := make(chan struct{})
	go f.AfterFunc(time.Second, func() { close(rang) })
	f.Await(1)
	f.Advance(time.Second)
	<-rang
}

func TestCPUCountsWhatIsUsed(t *testing.T) {
	begin := CPU()
	for CPU()-begin < 20*time.Millisecond { // ends with the test's own limit, were it to stand
	}
	var before, after unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &before)
	got := CPU()
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &after)
	const tick = int64(10 * time.Millisecond) // by which the parts may be late
	if n := int64(got); n < before.Nano()-tick || n > after.Nano()+tick {
		t.Errorf("CPU is %d ns, between %d and %d by the process's clock", n, before.Nano(), after.Nano())
	}
}
