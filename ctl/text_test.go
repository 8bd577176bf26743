package ctl

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func procInfo(state api.State, st *api.Status) api.ProcInfo {
	return api.ProcInfo{
		ID: "hello-aaaaaaaaaaaaaaaaaaaaaaaaaa", Short: "hello-aaaa", Realm: "shop", Node: "n1", Program: "/bin/hello", Args: []string{"-q", "two words", ""},
		Digest: "s1-0123456789abcdef", State: state, Status: st, Memory: 64 << 20, Created: noon.Add(-90 * time.Second),
		Stamps: api.Stamps{Spawn: 1, Placed: 40_001, Slot: 9_400_001, Exec: 9_900_001, Started: 25_000_001, Ended: 2_525_000_001}, CPU: 4_110_000, RSS: 2 << 20,
	}
}

// The screen of why, whole, for a proc that ended.
func TestWhyIsOneScreen(t *testing.T) {
	y := api.Why{
		Proc: procInfo(api.OOM, &api.Status{State: api.OOM, Signal: 9}), Reason: "The kernel ended it.", Nodes: []string{"n2: too small"},
		Denied: []api.DeniedCall{{Name: "socket", Count: 3}}, Tail: []string{"last \x1b[31mwords"}, Advice: []string{"give it more memory"},
	}
	want := `hello-aaaa  oom
/bin/hello -q two words ""
  The kernel ended it.

spawned  1m ago by the operator · realm shop · BE
start    queue 0.04ms · slot 9.36ms · exec 0.50ms · started 15ms
used     CPU 4.11ms · memory 2MiB of 64MiB · ran 2.5s · node n1
node     n2: too small
denied   socket ×3

last lines of its output (all: sigmactl logs hello-aaaa):
  last ?[31mwords

what to do:
  - give it more memory
`
	var b bytes.Buffer
	if err := whyText(&b, y, noon); err != nil || b.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
	}
}

// A proc that named nodes is told of whether it ran there.
func TestWhyTellsOfNear(t *testing.T) {
	for _, tt := range []struct {
		near   []string
		placed int64
		want   string
	}{
		{[]string{"n2", "n1"}, 5, "near     on n1, as it had better\n"},
		{[]string{"n2", "n3"}, 5, "near     it had better run on n2 or n3, and node n1 had room first\n"},
		{[]string{"n2"}, 0, "near     it had better run on n2\n"},
	} {
		p := procInfo(api.Running, nil)
		p.Near, p.Stamps.Placed = tt.near, tt.placed
		var b strings.Builder
		if err := whyText(&b, api.Why{Proc: p}, noon); err != nil || !strings.Contains(b.String(), tt.want) {
			t.Errorf("near %v: %v\n%s\nwant %q", tt.near, err, b.String(), tt.want)
		}
	}
}

func TestWhyOfWhatHasNotStarted(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*api.ProcInfo)
		want   []string
		not    string
	}{
		"queued": {func(p *api.ProcInfo) { p.State, p.Status, p.Stamps = api.Queued, nil, api.Stamps{Spawn: 1} }, []string{"queued for 1m, not placed yet"}, "used"},
		"killed in the queue": {func(p *api.ProcInfo) {
			p.State, p.Status, p.Stamps = api.Killed, &api.Status{State: api.Killed}, api.Stamps{Spawn: 1, Ended: 3_000_000_001}
		}, []string{"queued for 3.0s, never placed"}, "used"},
		"running":      {func(p *api.ProcInfo) { p.State, p.Status, p.Stamps.Ended = api.Running, nil, 0 }, []string{"ran 1m so far"}, "exited"},
		"of a proc":    {func(p *api.ProcInfo) { p.Parent = "mr-bbbbbbbbbbbbbbbbbbbbbbbbbb" }, []string{"by proc mr-bbbb"}, "operator"},
		"of a user":    {func(p *api.ProcInfo) { p.User = "ann\x1b" }, []string{"by ann?"}, "operator"},
		"LC":           {func(p *api.ProcInfo) { p.Class, p.MCPU = api.LC, 500 }, []string{"LC, 0.50 cores"}, "BE"},
		"of a digest":  {func(p *api.ProcInfo) { p.Program = "s1-" + strings.Repeat("0a", 32) }, []string{"hello@0a0a0a0a -q"}, "s1-0a"},
		"without time": {func(p *api.ProcInfo) { p.CPU = 0 }, []string{"used     memory 2MiB"}, "CPU"},
	} {
		y := api.Why{Proc: procInfo(api.Exited, &api.Status{State: api.Exited})}
		tt.change(&y.Proc)
		var b bytes.Buffer
		whyText(&b, y, noon)
		for _, w := range tt.want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: no %q in\n%s", name, w, b.String())
			}
		}
		if strings.Contains(b.String(), tt.not) {
			t.Errorf("%s: %q in\n%s", name, tt.not, b.String())
		}
	}
}

func TestPsTable(t *testing.T) {
	procs := []api.ProcInfo{procInfo(api.Running, nil), procInfo(api.Exited, &api.Status{State: api.Exited, Code: 3})}
	procs[0].Start = &api.ColdStart{From: "n2", Pages: 17, Took: 800_000}
	procs[1].Start = &api.ColdStart{Warm: true}
	procs[1].Args = []string{strings.Repeat("long", 30)}
	var b bytes.Buffer
	if err := psTable(&b, procs, noon, true, true); err != nil {
		t.Fatal(err)
	}
	want := `REALM  ID          STATE     CLASS  MEMORY  AGE  PROGRAM                     QUEUE   SLOT    EXEC    START  PAGES               NODE  DIGEST
shop   hello-aaaa  running   BE     64MiB   1m   /bin/hello -q two words ""  0.04ms  9.36ms  0.50ms  15ms   17 from n2, 0.80ms  n1    s1-01234567
shop   hello-aaaa  exited 3  BE     64MiB   1m   /bin/hello …                0.04ms  9.36ms  0.50ms  15ms   warm                n1    s1-01234567
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	psTable(&b, procs, noon, false, false)
	if lines := strings.Split(b.String(), "\n"); strings.Contains(lines[0], "REALM") || strings.Contains(lines[0], "QUEUE") {
		t.Errorf("the narrow one:\n%s", b.String())
	}
}

// A sample fits the screen, and has the busiest first.
func TestTopFitsItsScreen(t *testing.T) {
	before := api.Top{Time: noon}
	now := api.Top{Time: noon.Add(time.Second), Node: "n1", Cores: 2, Memory: 8 << 30, Reserved: 1500}
	for i := range 40 {
		p := procInfo(api.Running, nil)
		p.ID, p.Short = api.ProcID(fmt.Sprintf("p-%d", i)), fmt.Sprintf("p-%d", i)
		p.CPU = 0
		before.Procs = append(before.Procs, p)
		p.CPU = int64(i) * int64(10*time.Millisecond)
		now.Procs = append(now.Procs, p)
		now.Realms = append(now.Realms, api.TopRealm{Name: fmt.Sprintf("r-%d", i), CPU: int64(i) * int64(20*time.Millisecond)})
	}
	for _, height := range []int{23, 50} {
		var b bytes.Buffer
		if err := topText(&b, before, now, height); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
		if len(lines) > height {
			t.Errorf("%d lines on a screen of %d:\n%s", len(lines), height, b.String())
		}
		for _, want := range []string{"1.50 reserved", "r-39   78.0", "p-39  shop   BE     39.0", "more"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("height %d: no %q in\n%s", height, want, b.String())
			}
		}
		if strings.Contains(b.String(), "p-3 ") {
			t.Errorf("height %d: an idle proc is shown before busy ones", height)
		}
	}
	var b bytes.Buffer
	topText(&b, before, now, 1000)
	if strings.Contains(b.String(), "more") {
		t.Error("without a screen something is left out")
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		42 * time.Microsecond: "0.04ms", 9_876 * time.Microsecond: "9.88ms", 15 * time.Millisecond: "15ms", 9846 * time.Millisecond: "9.8s", 90 * time.Second: "1m", 26 * time.Hour: "26h", 72 * time.Hour: "3d",
	} {
		if got := took(d); got != want {
			t.Errorf("took(%v) = %q, want %q", d, got, want)
		}
	}
	if step(0, 5) != "-" || step(5, 0) != "-" {
		t.Error("a stamp that was not reached has a time")
	}
}
