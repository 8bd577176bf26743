package events

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
)

// hand is a clock that tests set.
type hand struct {
	mu sync.Mutex
	t  time.Time
}

func (h *hand) now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.t }
func (h *hand) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = h.t.Add(d)
}

func open(t *testing.T, dir string, h *hand, change ...func(*Config)) *Log {
	t.Helper()
	cfg := Config{Dir: dir, Node: "n1", Logger: slog.New(slog.DiscardHandler), Now: h.now, Every: time.Hour}
	for _, fn := range change {
		fn(&cfg)
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func details(list []api.Event) (out []string) {
	for _, e := range list {
		out = append(out, e.Detail)
	}
	return out
}

func TestEventsAreReadInOrderAcrossAStart(t *testing.T) {
	h, dir := &hand{t: time.Now()}, t.TempDir()
	l := open(t, dir, h)
	for i := range 3 {
		l.Add("r1", api.Event{Kind: api.EventSpawned, Detail: fmt.Sprint(i)})
		l.Add("r2", api.Event{Kind: api.EventSpawned, Detail: "other"})
	}
	l.Close()
	h.add(-time.Hour) // the clock was set back
	l = open(t, dir, h)
	defer l.Close()
	l.Add("r1", api.Event{Detail: "3"})
	list, more := l.Read([]string{"r1"}, time.Time{}, 0, 10)
	if got := strings.Join(details(list), " "); got != "0 1 2 3" || more {
		t.Fatalf("Read = %q, %v; want 0 1 2 3", got, more)
	}
	for i := 1; i < len(list); i++ {
		if list[i].Seq <= list[i-1].Seq {
			t.Errorf("event %d has number %d, the one before %d", i, list[i].Seq, list[i-1].Seq)
		}
	}
	if list, more := l.Read([]string{"r1"}, time.Time{}, list[0].Seq, 2); strings.Join(details(list), " ") != "1 2" || !more {
		t.Errorf("a page of two after the first: %v, %v", details(list), more)
	}
	if list, _ := l.Read([]string{"../r1"}, time.Time{}, 0, 10); list != nil {
		t.Errorf("a path as realm: %v", list)
	}
	l.Drop("r1")
	if list, _ := l.Read([]string{"r1"}, time.Time{}, 0, 10); len(list) != 0 {
		t.Errorf("after Drop: %v", details(list))
	}
	if list, _ := l.Read([]string{"r2"}, time.Time{}, 0, 10); len(list) != 3 {
		t.Errorf("the other realm: %v", details(list))
	}
}

func TestEventsAreBounded(t *testing.T) {
	h, dir := &hand{t: time.Now()}, t.TempDir()
	l := open(t, dir, h, func(c *Config) { c.Bytes, c.Buffer = 64<<10, 100 })
	defer l.Close()
	for round := range 100 {
		for i := range 120 { // 20 are too many
			l.Add("r1", api.Event{Detail: fmt.Sprint(round, i)})
		}
		l.flush()
	}
	var size int64
	for _, n := range []string{"r1.0", "r1.1"} {
		if st, err := os.Stat(filepath.Join(dir, n)); err == nil {
			size += st.Size()
		}
	}
	if size == 0 || size > 64<<10 {
		t.Errorf("a realm's events take %d bytes, want 1 to %d", size, 64<<10)
	}
	list, _ := l.Read([]string{"r1"}, time.Time{}, 0, 1000)
	if e := list[len(list)-1]; e.Kind != api.EventMissing || e.Detail != "20 events" {
		t.Errorf("the last event is %+v; want that 20 are missing", e)
	}
}

func TestEventsGoAfterADay(t *testing.T) {
	h, dir := &hand{t: time.Now()}, t.TempDir()
	l := open(t, dir, h)
	defer l.Close()
	l.Add("r1", api.Event{Detail: "old"})
	l.flush()
	h.add(13 * time.Hour)
	l.Add("r1", api.Event{Detail: "new"})
	if list, _ := l.Read([]string{"r1"}, time.Time{}, 0, 10); len(list) != 2 {
		t.Errorf("after 13 h: %v", details(list))
	}
	h.add(12 * time.Hour)
	if list, _ := l.Read([]string{"r1"}, time.Time{}, 0, 10); strings.Join(details(list), " ") != "new" {
		t.Errorf("after 25 h: %v", details(list))
	}
}

func TestALineThatIsNoneIsPassedOver(t *testing.T) {
	h, dir := &hand{t: time.Now()}, t.TempDir()
	l := open(t, dir, h)
	l.Add("r1", api.Event{Detail: "a"})
	l.Close()
	f, err := os.OpenFile(filepath.Join(dir, "r1.1"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "{\"v\":9}\nhalf a li\n")
	f.Close()
	l = open(t, dir, h)
	defer l.Close()
	l.Add("r1", api.Event{Detail: "b"})
	if list, _ := l.Read([]string{"r1"}, time.Time{}, 0, 10); strings.Join(details(list), " ") != "a b" {
		t.Errorf("Read = %v, want a b", details(list))
	}
}

// A node's own order stays, though its clock is an hour ahead.
func TestMerge(t *testing.T) {
	at := func(node string, minutes ...int) (out []api.Event) {
		for i, m := range minutes {
			out = append(out, api.Event{Node: node, Seq: int64(i), Time: time.Unix(int64(m)*60, 0), Detail: fmt.Sprint(node, i)})
		}
		return out
	}
	got := strings.Join(details(Merge(at("a", 1, 4, 9), nil, at("b", 2, 62, 3))), " ")
	if want := "a0 b0 a1 a2 b1 b2"; got != want {
		t.Errorf("Merge = %q, want %q", got, want)
	}
}

func BenchmarkAdd(b *testing.B) {
	l, err := Open(Config{Dir: b.TempDir(), Node: "n1", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for b.Loop() {
		l.Add("r1", api.Event{Kind: api.EventSpawned, Proc: "hello-aaaaaaaaaaaaaaaaaaaaaaaaaa", Detail: "/bin/hello"})
	}
}
