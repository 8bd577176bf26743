package test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
)

func TestPROBES_R1_ThreadBombMeetsItsLimit(t *testing.T) { onHostile(t).holds("R1") }

// Each kind of memory counts against the proc alone, and ends it alone.
func TestPROBES_R2_EveryKindOfMemoryCounts(t *testing.T) { onHostile(t).holds("R2") }

func TestPROBES_R4_DescriptorsMeetTheirLimit(t *testing.T) { onHostile(t).holds("R4") }

// One realm's hundred thousand do not hold up another's one: it takes its turn.
func TestPROBES_R8_SpawnStormOfOneRealmLeavesTheOther(t *testing.T) {
	h := onHostile(t)
	ctx := context.Background()
	prog := h.Upload("hello")
	h.UploadTo("other", "hello")
	count := scaled(2400, 100_000) // more than fit into the node's memory at once
	ids := make([]api.ProcID, count)
	var spawning sync.WaitGroup
	for k := range 32 {
		spawning.Go(func() {
			for i := k; i < count; i += 32 {
				id, err := h.c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"-q"}, Memory: 16 << 20})
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = id
			}
		})
	}
	spawning.Wait()
	before := h.backlog("default")
	for i := range 20 {
		begin := time.Now()
		st := h.Run(h.other, &api.ProcDesc{Program: prog, Args: []string{"-q"}, Memory: 16 << 20})
		if !st.OK() {
			t.Errorf("proc %d of the other realm: %v", i, st)
		}
		if i%5 == 0 {
			t.Logf("proc %d of the other realm took %v", i, time.Since(begin))
		}
	}
	if left := h.backlog("default"); before == 0 || left < before/3 {
		t.Errorf("twenty procs of another realm had to wait until %d of %d were left", left, before)
	}
	for _, id := range ids {
		if st := h.Await(h.c, id); !st.OK() {
			t.Fatalf("%s: %v", id, st)
		}
	}
}

func TestPROBES_R9_F35_LogFloodHurtsOnlyTheFlooder(t *testing.T) {
	n := StartNode(t, "--log-bytes", "4MiB", "--log-rate", "64MiB")
	c := n.Client("default")
	prog := n.Upload("testproc")
	quiet := n.Running(c, sleeper(prog))
	said, _, _ := n.Ctl("spawn", prog, "print", "3", "9")
	said = strings.TrimSpace(said)
	id := strings.TrimSpace(first(n.Ctl("spawn", prog, "print", fmt.Sprint(scaled(100_000, 10_000_000)), "99")))
	// While it floods, others are answered.
	begin := time.Now()
	n.info(c, quiet)
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("beside a flood an answer took %v", d)
	}
	if st := n.Await(c, api.ProcID(id)); !st.OK() {
		t.Fatalf("the flooder: %v", st)
	}
	out, e, _ := n.Ctl("logs", id)
	if len(out) > 5<<20 || !strings.Contains(e, "dropped") {
		t.Errorf("%d bytes are kept, and the reader is told %q", len(out), e)
	}
	if out, _, _ := n.Ctl("logs", said); out != strings.Repeat("xxxxxxxxx\n", 3) {
		t.Errorf("another proc's output is %q", out)
	}
}

func first(s, _ string, _ int) string { return s }

// backlog counts a realm's procs that have not ended.
func (h *hostile) backlog(realm string) int {
	h.t.Helper()
	for _, r := range h.top(h.c).Realms {
		if r.Name == realm {
			return r.Queued + r.Running
		}
	}
	return 0
}

// Timers, membarriers and the interrupts of munmap: they count as the proc's
// own time, and the rest of the node goes on.
func TestPROBES_R7_StormsOfThreadsAreBearable(t *testing.T) { onHostile(t).holds("R7") }

func TestPROBES_R10_StormsOfTimersAreBearable(t *testing.T) { onHostile(t).holds("R10") }

// Kill ends a proc that ignores everything, and one that stopped itself.
func TestPROBES_P15_KillEndsWhateverIgnoresIt(t *testing.T) { onHostile(t).holds("P15") }

func TestPROBES_P16_KillEndsWhatHasStopped(t *testing.T) { onHostile(t).holds("P16") }

// A node stops although its procs have stopped, ignore signals, or spin.
func TestPROBES_P16_NodeStopsWithWhateverRuns(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	n.Upload("probe")
	for _, row := range []string{"P15", "P16", "R7"} {
		d := probe(row)
		d.Threads = 120
		n.Running(c, d)
	}
	begin := time.Now()
	n.Stop()
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

// The next proc of a slot sees nothing of the last one.
func TestPROBES_P18_SlotForgetsItsLastProc(t *testing.T) {
	h := onHostile(t)
	in := func(realm string) (func(row string) []attempt, func()) {
		if _, err := h.c.CreateRealm(context.Background(), api.Realm{Name: realm}); err != nil {
			t.Fatal(err)
		}
		c := h.Client(realm)
		h.UploadTo(realm, "probe")
		return func(row string) []attempt { return h.rowAs(c, probe(row)) }, func() { c.RemoveRealm(context.Background(), realm) }
	}
	clean, done := in("p18-clean")
	defer done()
	used, done2 := in("p18-used")
	defer done2()
	want := clean("P18look")
	before := used("P18stain")
	got := used("P18look")
	if a, b := find(t, before, "pid").R, find(t, got, "pid").R; b <= a {
		t.Fatalf("pids %d and %d: not the same slot", a, b)
	}
	for i, w := range want {
		g := got[i]
		if g.Try != w.Try || w.Try != "pid" && w.Try != "status" && (g.R != w.R || g.Text != w.Text) {
			t.Errorf("in a fresh slot %v, in a used one %v", w, g)
		}
	}
	h.holds("P18") // which looks at the stain's own attempts, and at new memory
}

// Whatever a proc does with its channel, only that channel suffers.
func TestPROBES_N13_BadUseOfTheChannelHurtsItsOwner(t *testing.T) {
	h := onHostile(t)
	fds := h.descriptors()
	h.holds("N13")
	if rss := resident(h.PID()); rss > 300<<20 {
		t.Errorf("sigmad has grown to %d MiB", rss>>20)
	}
	eventually(t, 90*time.Second, "sigmad's descriptors", func() (bool, string) {
		n := h.descriptors()
		return n <= fds+60, fmt.Sprintf("%d, before %d", n, fds) // slots that stay warm, for a minute
	})
}

func resident(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	var size, rss int64
	fmt.Sscan(string(b), &size, &rss)
	return rss * int64(os.Getpagesize())
}

// descriptors counts those of sigmad.
func (n *Node) descriptors() int {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.PID()))
	return len(fds)
}

func TestPROBES_N14_NoDescriptorsFromProcs(t *testing.T) {
	h := onHostile(t)
	h.holds("N14")
	before := h.descriptors()
	h.holds("N14")
	// A channel's end is closed a moment after its proc's, a slot that was made meanwhile a minute after its last.
	eventually(t, 90*time.Second, "sigmad has no more descriptors than before", func() (bool, string) {
		after := h.descriptors()
		return after <= before, fmt.Sprintf("%d before, now %d", before, after)
	})
}

// A proc whose main thread has left is there until its last one is; Exited
// changes nothing about that.
func TestPROBES_N16_ChannelEndsWithTheProc(t *testing.T) { onHostile(t).holds("N16") }

// Frames that no library writes: every one has its error, and the caller is who
// it is.
func TestPROBES_N29_ForgedFramesAreRefused(t *testing.T) {
	h := onHostile(t)
	id := strings.TrimSpace(first(h.Ctl("spawn", h.sleeper, "forge", h.sleeper)))
	if st := h.Await(h.c, api.ProcID(id)); !st.OK() {
		t.Fatalf("%v", st)
	}
	out, _, _ := h.Ctl("logs", id)
	want := map[string]api.Kind{
		"long path": api.TooLarge, "long args": api.TooLarge, "long domain": api.TooLarge, "exit with too much": api.TooLarge,
		"realm": api.Denied, "call realm.create": api.Denied, "call realm.rm": api.Denied, "call proc.ls": api.Denied,
		"call nothing": api.Unsupported, "type 200": api.Unsupported,
	}
	n := 0
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		name, kind, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("the proc said %q", line)
		}
		if name == "child" {
			p := h.info(h.c, api.ProcID(kind))
			if p.Realm != "default" || p.User != "" || string(p.Parent) != id {
				t.Errorf("the child's realm is %q, user %q, parent %q", p.Realm, p.User, p.Parent)
			}
			continue
		}
		n++
		w := want[name]
		if w == "" {
			w = api.Invalid
		}
		if kind != string(w) {
			t.Errorf("%s: kind %q, want %q", name, kind, w)
		}
	}
	if n < 31 {
		t.Errorf("only %d answers:\n%s", n, out)
	}
	// 10 MB in a frame end the channel, and nothing else.
	out, e, code := h.Ctl("run", h.sleeper, "flood", h.sleeper)
	if code != 0 && code != 128+13 || strings.Contains(out, "\n\n") {
		t.Errorf("a frame of 10 MB: status %d, %q %q", code, out, e)
	}
	// Environment that means something to loaders and run-times harms nobody.
	st := h.Run(h.c, &api.ProcDesc{Program: h.sleeper, Env: []string{"LD_PRELOAD=/x", "LD_LIBRARY_PATH=/", "GODEBUG=gctrace=0", "GOTRACEBACK=crash", "PATH=", "IFS=x"}})
	if !st.OK() {
		t.Errorf("env for a static program harms it: %v", st)
	}
}

// From inside a proc, another realm's proc, a guessed one and none have one
// answer, and nothing happens to any.
func TestPROBES_N30_ProcsOfOthersDoNotExist(t *testing.T) {
	h := onHostile(t)
	theirs := h.suite.Victim()
	never := theirs[:len(theirs)-12] + "aaaaaaaaaaaa"
	var answers []string
	for _, id := range []api.ProcID{theirs, never} {
		out, e, code := h.Ctl("run", h.sleeper, "meddle", string(id))
		if code != 0 || strings.Count(out, "no such proc") != 6 {
			t.Errorf("status %d: %s%s", code, out, e)
		}
		answers = append(answers, strings.ReplaceAll(out, string(id), "ID"))
	}
	if answers[0] != answers[1] {
		t.Errorf("of another realm's proc:\n%s, of none:\n%s", answers[0], answers[1])
	}
}

// What serves operators is out of reach: its sockets are root's alone, metrics
// have no more than metrics, and the release has no failpoints.
func TestPROBES_N35_OperatorsPartsAreOutOfReach(t *testing.T) {
	h := onHostile(t)
	for _, d := range []string{"run", "data"} {
		st, err := os.Stat(filepath.Join(h.Dir, d))
		if err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v, want mode 0700", d, st.Mode(), err)
		}
	}
	info, err := h.c.Info(context.Background())
	if err != nil || !strings.HasPrefix(info.Metrics, "127.0.0.1:") {
		t.Fatalf("metrics at %q: %v", info.Metrics, err)
	}
	for path, code := range map[string]int{"/metrics": 200, "/debug/pprof/": 404, "/debug/vars": 404, "/": 404, "/v3/kv/range": 404, "/members": 404} {
		resp, err := http.Get("http://" + info.Metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != code {
			t.Errorf("%s answers %d, want %d", path, resp.StatusCode, code)
		}
	}
	b, err := os.ReadFile(filepath.Join(bin, "sigmad"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "SIGMA_FAILPOINT") {
		t.Error("the release has failpoints")
	}
}
