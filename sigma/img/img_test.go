package img

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		s    string
		w, h int
	}{{"640x480", 640, 480}, {"1x16384", 1, 16384}, {"0x1", 0, 0}, {"640", 0, 0}, {"640x", 0, 0}, {"640x480x2", 0, 0}, {"-1x5", 0, 0}, {"16385x1", 0, 0}, {"", 0, 0}, {"1x99999999999999999999", 0, 0}} {
		w, h, err := ParseSize(tt.s)
		if tt.w == 0 {
			if api.KindOf(err) != api.Invalid {
				t.Errorf("%q: %d, %d, %v; want it refused", tt.s, w, h, err)
			}
		} else if w != tt.w || h != tt.h || err != nil || Size(w, h) != tt.s {
			t.Errorf("%q: %d, %d, %v", tt.s, w, h, err)
		}
	}
}

func TestSpecIsChecked(t *testing.T) {
	good := Spec{Spec: job.Spec{Name: "a", Program: "/bin/img", Out: "/out"}, In: "/in", Options: Options{Width: 10, Height: 10}}
	for name, change := range map[string]func(*Spec){
		"":                            func(*Spec) {},
		"no size":                     func(s *Spec) { s.Width = 0 },
		"an output that is the input": func(s *Spec) { s.Out = "/in" },
		"an output in the input":      func(s *Spec) { s.Out = "/in/small" },
		"a local path":                func(s *Spec) { s.In = "in" },
		"little memory":               func(s *Spec) { s.Memory = 1 << 20 },
		"a format":                    func(s *Spec) { s.Format = "gif" },
		"quality":                     func(s *Spec) { s.Quality = 101 },
		"a name":                      func(s *Spec) { s.Name = "A b" },
	} {
		s := good
		change(&s)
		if err := s.normalize(); (name == "") != (err == nil) || err != nil && api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Results have their images' names, and never one that another image's has.
func TestNamesOfResults(t *testing.T) {
	list := images([]string{"a.gif", "a.gif.png", "b.JPG", "d/c", "d/c.jpg"})
	for _, tt := range []struct {
		image  int
		format string
		want   string
	}{
		{0, "jpeg", "/o/a.gif.jpg"}, {0, "png", ""}, {1, "png", "/o/a.gif.png"}, {2, "jpeg", "/o/b.JPG"}, {2, "png", "/o/b.JPG.png"}, {3, "jpeg", ""}, {3, "png", "/o/d/c.png"},
	} {
		w := work{Out: "/o/" + list[tt.image].Name, Taken: list[tt.image].Taken}
		got, err := w.target(tt.format)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s as %s: %q, %v; want %q", list[tt.image].Name, tt.format, got, err, tt.want)
		}
	}
	if got := dirsOf([]string{"a", "d/b", "d/c", "d/e/f"}); !reflect.DeepEqual(got, map[string]bool{"d": true, "d/e": true}) {
		t.Errorf("directories %v", got)
	}
}

func TestVerdicts(t *testing.T) {
	data := func(r report) []byte { b, _ := json.Marshal(r); return b }
	for _, tt := range []struct {
		name string
		st   sigma.Status
		want verdict
	}{
		{"a result", sigma.Status{State: api.Exited, Data: data(report{})}, made},
		{"status 0 without a word", sigma.Status{State: api.Exited}, failed},
		{"no image", sigma.Status{State: api.Exited, Code: 1, Data: data(report{Refused: true})}, refused},
		{"a server away", sigma.Status{State: api.Exited, Code: 1, Data: data(report{Retry: true})}, back},
		{"no disk", sigma.Status{State: api.Exited, Code: 1, Data: data(report{})}, failed},
		{"a panic", sigma.Status{State: api.Exited, Code: 2}, failed},
		{"out of memory", sigma.Status{State: api.OOM}, failed},
		{"killed", sigma.Status{State: api.Killed}, failed},
		{"a signal", sigma.Status{State: api.Signal, Signal: 9}, failed},
		{"evicted", sigma.Status{State: api.Evicted}, back},
		{"its node lost", sigma.Status{State: api.Lost}, back},
	} {
		got, _, err := judge(job.Outcome{Proc: "p", Status: tt.st}, time.Minute)
		if got != tt.want || (err == nil) != (tt.want == made) {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestStateCounts(t *testing.T) {
	var list []Result
	for i := range 30 {
		list = append(list, Result{Name: "x", Wall: time.Duration(30 - i), InBytes: 2, RSS: int64(i)})
		list = append(list, Result{Name: "y", Error: "no"})
	}
	var s State
	for range 2 { // it may be counted any number of times
		s.count(list)
	}
	if s.Done != 30 || s.Failed != 30 || len(s.Some) != maxSome || s.Sums.InBytes != 60 || s.Sums.RSS != 29 || s.Sums.WallP50 != 16 || s.Sums.WallMax != 30 {
		t.Errorf("%+v", s)
	}
}

func TestMessages(t *testing.T) {
	q := Request{Options: Options{Width: 3, Height: 4}, In: "/a"}
	b, err := pack(q, []byte("bytes"))
	if err != nil {
		t.Fatal(err)
	}
	var got Request
	data, err := unpack(b, &got)
	if err != nil || !bytes.Equal(data, []byte("bytes")) || got != q {
		t.Errorf("%+v, %q, %v", got, data, err)
	}
	for i := range 4 + len(b) - 4 - len("bytes") {
		if _, err := unpack(b[:i], &got); api.KindOf(err) != api.Invalid {
			t.Errorf("its first %d bytes: %v", i, err)
		}
	}
	if _, err := unpack([]byte("\xff\xff\xff\xff{}"), &got); err == nil {
		t.Error("a length of 4 GiB is taken")
	}
}

// Of so many places, one more is sent away at once.
func TestServiceIsBounded(t *testing.T) {
	s := &server{Service: Service{Path: "/svc/img", Parallel: 2, Queue: 1}, slots: make(chan struct{}, 2)}
	var leave []func()
	for range 2 {
		l, err := s.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	third := make(chan error)
	go func() {
		l, err := s.enter(t.Context())
		if err == nil {
			l()
		}
		third <- err
	}()
	for s.inside.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	if _, err := s.enter(t.Context()); api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "try again") {
		t.Errorf("the fourth: %v, want busy", err)
	}
	leave[0]()
	if err := <-third; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	leave[1]()
	if n := s.inside.Load(); n != 0 {
		t.Errorf("%d inside at the end", n)
	}
	s.stopping.Store(true)
	if _, err := s.enter(t.Context()); api.KindOf(err) != api.Unavailable {
		t.Errorf("while it stops: %v", err)
	}
}
