package mr

import (
	"regexp"
	"strings"
	"time"

	"sigmaos/api"
)

// Root is the directory of a realm where jobs are kept.
const Root = "/mr"

// Spec says what a job is to do. Submit fills in what is left out.
type Spec struct {
	Name    string   `json:"name"` // 1 to 30 of a-z, 0-9 and -, unique in the realm
	Program string   `json:"program"`
	App     string   `json:"app"`
	Args    []string `json:"args,omitempty"`

	In           []string `json:"in"`  // files and directories
	Out          string   `json:"out"` // a directory, new or empty
	Overwrite    bool     `json:"overwrite,omitempty"`
	Intermediate string   `json:"intermediate"` // /ux/~local when left out

	Reducers   int           `json:"reducers"`   // 4
	SplitBytes int64         `json:"splitBytes"` // 0: by the size of the input
	Memory     int64         `json:"memory"`     // of a mapper or reducer; 128 MiB
	Tries      int           `json:"tries"`      // failures that end the job; 4
	TaskLimit  time.Duration `json:"taskLimit"`  // for one attempt; 10 min
	Parallel   int           `json:"parallel"`   // attempts at a time; 0: by the number of nodes
	ID         string        `json:"id"`         // of this run of the job, in the names of its files
	Created    time.Time     `json:"created"`
}

const (
	defReducers  = 4
	maxReducers  = 512
	defMemory    = 128 << 20
	minMemory    = 48 << 20
	defTries     = 4
	defTaskLimit = 10 * time.Minute
	defMid       = "/ux/~local"
	maxArgs      = 32 << 10
)

var jobName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,29}$`)

// normalize fills in defaults and checks every field.
func (s *Spec) normalize() error {
	bad := func(format string, args ...any) error { return api.E(api.Invalid, "mr", s.Name, format, args...) }
	def(&s.Reducers, defReducers)
	def(&s.Memory, defMemory)
	def(&s.Tries, defTries)
	def(&s.TaskLimit, defTaskLimit)
	def(&s.Intermediate, defMid)
	args := 0
	for _, a := range s.Args {
		args += len(a) + 1
	}
	switch {
	case !jobName.MatchString(s.Name):
		return bad("the name of a job is 1 to 30 of a-z, 0-9 and -, and does not begin with -")
	case s.Program == "":
		return bad("no program")
	case len(s.In) == 0:
		return bad("no input; name files or directories of the realm")
	case s.Out == "":
		return bad("no output directory")
	case s.Reducers < 1 || s.Reducers > maxReducers:
		return bad("%d reducers; 1 to %d", s.Reducers, maxReducers)
	case s.SplitBytes < 0:
		return bad("splits of %d bytes", s.SplitBytes)
	case s.Memory < minMemory:
		return bad("%d bytes of memory; a mapper or reducer needs %d MiB", s.Memory, minMemory>>20)
	case s.Tries < 1 || s.Parallel < 0 || s.TaskLimit < time.Second:
		return bad("tries, parallel and the time limit of an attempt (at least 1 s) cannot be negative")
	case args > maxArgs:
		return api.E(api.TooLarge, "mr", s.Name, "%d bytes of arguments; at most %d, put more into a file", args, maxArgs)
	}
	for _, p := range append([]string{s.Out, s.Intermediate}, s.In...) {
		if !strings.HasPrefix(p, "/") {
			return bad("%q is no path of the realm; those begin with /", p)
		}
	}
	return nil
}

// def sets what is the zero value.
func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// dir is where the job is kept.
func (s *Spec) dir() string { return Root + "/" + s.Name }

// mid is the directory of intermediate files, by one name on each node.
func (s *Spec) mid() string { return strings.TrimSuffix(s.Intermediate, "/") + "/mr-" + s.ID }

// aside is where reducers write.
func (s *Spec) aside() string { return s.Out + "/.mr-" + s.ID }

// claim is the file that keeps the output directory to this job.
func (s *Spec) claim() string { return s.Out + "/.mr" }
