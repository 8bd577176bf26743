package job

import (
	"context"
	"regexp"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// Spec is what every job is told; a kind's own has it inside.
type Spec struct {
	Name      string        `json:"name"` // 1 to 30 of a-z, 0-9 and -, unique among its kind in the realm
	Program   string        `json:"program"`
	Out       string        `json:"out"` // a directory, new or empty
	Overwrite bool          `json:"overwrite,omitempty"`
	Tries     int           `json:"tries"`     // failures that end a task; 4
	TaskLimit time.Duration `json:"taskLimit"` // for one attempt
	Parallel  int           `json:"parallel"`  // attempts at a time; 0: by the cores of the cluster
	ID        string        `json:"id"`        // of this run of the job
	Created   time.Time     `json:"created"`
}

const defTries = 4

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,29}$`)

// Normalize fills in defaults and checks what every kind has; limit is the default
// of TaskLimit.
func (s *Spec) Normalize(kind string, limit time.Duration) error {
	Default(&s.Tries, defTries)
	Default(&s.TaskLimit, limit)
	text := ""
	switch {
	case !nameForm.MatchString(s.Name):
		text = "the name of a job is 1 to 30 of a-z, 0-9 and -, and does not begin with -"
	case s.Program == "":
		text = "no program"
	case s.Out == "":
		text = "no output directory"
	case s.Tries < 1 || s.Parallel < 0 || s.TaskLimit < time.Second:
		text = "tries, parallel and the time limit of an attempt (at least 1 s) cannot be negative"
	}
	if text == "" {
		return Paths(kind, s.Name, s.Out)
	}
	return api.E(api.Invalid, kind, s.Name, "%s", text)
}

// Paths checks that paths are of the realm.
func Paths(kind, name string, paths ...string) error {
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") {
			return api.E(api.Invalid, kind, name, "%q is no path of the realm; those begin with /", p)
		}
	}
	return nil
}

// Default sets what is the zero value.
func Default[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Fix replaces ~local in paths that others are to use: scratch space is that of the
// node which is meant now.
func Fix(ctx context.Context, n *sigma.Names, paths ...*string) (err error) {
	for _, p := range paths {
		if strings.HasPrefix(*p, "/ux/") {
			if *p, err = n.AbsPath(ctx, *p); err != nil {
				return err
			}
		}
		*p = strings.TrimRight(*p, "/")
	}
	return nil
}

// Phase is where a job is. Kinds add theirs between Planning and Ending.
type Phase string

const (
	Submitted Phase = "submitted" // no coordinator has looked at it
	Planning  Phase = "planning"
	Ending    Phase = "end"    // how is decided; what is left over is being removed
	Done      Phase = "done"   // final
	Failed    Phase = "failed" // final: the job could not go on
)

// Final reports whether the job has ended.
func (p Phase) Final() bool { return p == Done || p == Failed }

// State is what is known of every job; a kind's own has it inside.
type State struct {
	Phase   Phase     `json:"phase"`
	Error   string    `json:"error,omitempty"`
	Terms   int       `json:"terms"`            // leaders that the job has had
	Started time.Time `json:"started,omitzero"` // by the first leader
	Ended   time.Time `json:"ended,omitzero"`
	Notes   []string  `json:"notes,omitempty"` // what could not be removed, for instance
}

// Took is how long the job has run.
func (s *State) Took() time.Duration {
	switch {
	case s.Started.IsZero():
		return 0
	case s.Ended.IsZero():
		return time.Since(s.Started)
	}
	return s.Ended.Sub(s.Started)
}
