package img

import (
	"regexp"
	"strings"
	"time"

	"sigmaos/api"
)

// Root is the directory of a realm where jobs are kept.
const Root = "/img"

// Spec says what a job is to do. Submit fills in what is left out.
type Spec struct {
	Name    string `json:"name"` // 1 to 30 of a-z, 0-9 and -, unique in the realm
	Program string `json:"program"`

	In        string `json:"in"`  // a directory of images, or one image
	Out       string `json:"out"` // a directory, new or empty
	Overwrite bool   `json:"overwrite,omitempty"`
	Options

	Tries     int           `json:"tries"`     // failures of a worker that end an image; 4
	TaskLimit time.Duration `json:"taskLimit"` // for one attempt; 1 min
	Parallel  int           `json:"parallel"`  // workers at a time; 0: by the number of nodes
	ID        string        `json:"id"`        // of this run of the job
	Created   time.Time     `json:"created"`
}

const (
	defMemory    = 384 << 20
	minMemory    = 64 << 20
	runtimeShare = 32 << 20 // of a worker's memory, for the Go run-time
	defTries     = 4
	defTaskLimit = time.Minute
)

var jobName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,29}$`)

// normalize fills in defaults and checks every field. Memory is a worker's whole.
func (s *Spec) normalize() error {
	bad := func(format string, args ...any) error { return api.E(api.Invalid, "img", s.Name, format, args...) }
	def(&s.Memory, defMemory)
	def(&s.Tries, defTries)
	def(&s.TaskLimit, defTaskLimit)
	if err := s.Options.normalize(s.Name); err != nil {
		return err
	}
	switch {
	case !jobName.MatchString(s.Name):
		return bad("the name of a job is 1 to 30 of a-z, 0-9 and -, and does not begin with -")
	case s.Program == "":
		return bad("no program")
	case !strings.HasPrefix(s.In, "/") || !strings.HasPrefix(s.Out, "/"):
		return bad("%q or %q is no path of the realm; those begin with /", s.In, s.Out)
	case s.In == s.Out || strings.HasPrefix(s.Out, s.In+"/"):
		return bad("the output is in the input; name another directory")
	case s.Memory < minMemory:
		return bad("%d bytes of memory; a worker needs %d MiB", s.Memory, minMemory>>20)
	case s.Tries < 1 || s.Parallel < 0 || s.TaskLimit < time.Second:
		return bad("tries, parallel and the time limit of an attempt (at least 1 s) cannot be negative")
	}
	return nil
}

// forWorker are the options as a worker has them: of its memory, what is left for
// the image when the run-time and a collector that comes late have theirs.
func forWorker(o Options) Options {
	o.Memory = (o.Memory - runtimeShare) / 5 * 4
	return o
}

// dir is where the job is kept.
func (s *Spec) dir() string { return Root + "/" + s.Name }

// claim is the file that keeps the output directory to this job.
func (s *Spec) claim() string { return s.Out + "/.img" }
