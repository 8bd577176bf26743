package job

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
)

func TestNormalizeSaysWhatIsWrong(t *testing.T) {
	good := Spec{Name: "count-2", Program: "/bin/wc", Out: "/out"}
	s := good
	if err := s.Normalize("mr", time.Minute); err != nil || s.Tries != defTries || s.TaskLimit != time.Minute || s.Parallel != 0 {
		t.Errorf("Normalize = %+v, %v; want the defaults", s, err)
	}
	for want, change := range map[string]func(*Spec){
		"1 to 30 of a-z":                func(s *Spec) { s.Name = "" },
		"does not begin with -":         func(s *Spec) { s.Name = "-x" },
		"the name of a job":             func(s *Spec) { s.Name = strings.Repeat("a", 31) },
		"0-9 and -":                     func(s *Spec) { s.Name = "a/b" },
		"no program":                    func(s *Spec) { s.Program = "" },
		"no output directory":           func(s *Spec) { s.Out = "" },
		"cannot be negative":            func(s *Spec) { s.Tries = -1 },
		"tries, parallel":               func(s *Spec) { s.Parallel = -1 },
		"at least 1 s":                  func(s *Spec) { s.TaskLimit = time.Millisecond },
		`"out" is no path of the realm`: func(s *Spec) { s.Out = "out" },
	} {
		s := good
		change(&s)
		if err := s.Normalize("mr", time.Minute); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("Normalize of %+v = %v, want Invalid with %q", s, err, want)
		}
	}
}

// Names that are made are names that are taken, whatever they begin with.
func TestNewNamesAreNames(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		for _, begin := range []string{"", "wc", "a-name-that-is-much-too-long-for-a-job"} {
			n := NewName(begin)
			if !nameForm.MatchString(n) || seen[n] {
				t.Fatalf("NewName(%q) = %q, made before: %v", begin, n, seen[n])
			}
			seen[n] = true
		}
	}
}

// What the system did to an attempt is no fault of the task; what the program did is.
func TestVerdicts(t *testing.T) {
	for state, none := range map[api.State]bool{
		api.Exited: false, api.OOM: false, api.Signal: false, api.Killed: false,
		api.Lost: true, api.Evicted: true, api.Refused: true,
	} {
		if o := (Outcome{Status: api.Status{State: state, Code: 1}}); o.NoVerdict() != none {
			t.Errorf("NoVerdict of %v = %v, want %v", state, !none, none)
		}
	}
	if o := (Outcome{Status: api.Status{State: api.Exited, Code: overCode}}); !o.NoVerdict() {
		t.Error("an attempt whose term was over has a verdict")
	}
	never, later := api.E(api.NoCapacity, "spawn", "p", "too large"), api.E(api.Unavailable, "spawn", "p", "no shard")
	for _, c := range []struct {
		o    Outcome
		want bool
	}{{Outcome{Err: never}, true}, {Outcome{Err: later}, false}, {Outcome{Err: never, Proc: "p"}, false}, {Outcome{}, false}} {
		if c.o.Refused() != c.want {
			t.Errorf("Refused of %+v = %v", c.o, !c.want)
		}
	}
	if Transient(never) || !Transient(later) || Lasting(later) {
		t.Error("an error that passes and one that stays are mixed up")
	}
}

func TestDelaysDoubleUpToTheirMost(t *testing.T) {
	last := time.Duration(0)
	for i := range 100 {
		d := Delay(i)
		if d < last || d < pauseLeast || d > pauseMost || (last > 0 && d != min(2*last, pauseMost)) {
			t.Fatalf("Delay(%d) = %v after %v", i, d, last)
		}
		last = d
	}
	var b Backoff
	b.More()
	if b.Over() {
		t.Error("the next attempt may begin at once")
	}
}

func TestEachReturnsAnError(t *testing.T) {
	bad := errors.New("bad")
	if err := Each(5, func(i int) error {
		if i == 3 {
			return bad
		}
		return nil
	}); err != bad {
		t.Errorf("Each = %v, want %v", err, bad)
	}
	if err := Each(0, func(int) error { return bad }); err != nil {
		t.Errorf("Each of nothing = %v", err)
	}
}
