package mr

import (
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
)

// Spec says what a job is to do. Submit fills in what is left out.
type Spec struct {
	job.Spec
	App  string   `json:"app"`
	Args []string `json:"args,omitempty"`

	In           []string `json:"in"`           // files and directories
	Intermediate string   `json:"intermediate"` // /ux/~local when left out

	Reducers   int   `json:"reducers"`   // 4
	SplitBytes int64 `json:"splitBytes"` // 0: by the size of the input
	Memory     int64 `json:"memory"`     // of a mapper or reducer; 128 MiB
}

const (
	defReducers  = 4
	maxReducers  = 512
	defMemory    = 128 << 20
	minMemory    = 48 << 20
	defTaskLimit = 10 * time.Minute
	defMid       = "/ux/~local"
	maxArgs      = 32 << 10
)

// normalize fills in defaults and checks every field.
func (s *Spec) normalize() error {
	bad := func(format string, args ...any) error { return api.E(api.Invalid, "mr", s.Name, format, args...) }
	job.Default(&s.Reducers, defReducers)
	job.Default(&s.Memory, defMemory)
	job.Default(&s.Intermediate, defMid)
	args := 0
	for _, a := range s.Args {
		args += len(a) + 1
	}
	if err := s.Normalize("mr", defTaskLimit); err != nil {
		return err
	}
	switch {
	case len(s.In) == 0:
		return bad("no input; name files or directories of the realm")
	case s.Reducers < 1 || s.Reducers > maxReducers:
		return bad("%d reducers; 1 to %d", s.Reducers, maxReducers)
	case s.SplitBytes < 0:
		return bad("splits of %d bytes", s.SplitBytes)
	case s.Memory < minMemory:
		return bad("%d bytes of memory; a mapper or reducer needs %d MiB", s.Memory, minMemory>>20)
	case args > maxArgs:
		return api.E(api.TooLarge, "mr", s.Name, "%d bytes of arguments; at most %d, put more into a file", args, maxArgs)
	}
	return job.Paths("mr", s.Name, append([]string{s.Intermediate}, s.In...)...)
}

// mid is the directory of intermediate files, by one name on each node.
func (s *Spec) mid() string { return strings.TrimSuffix(s.Intermediate, "/") + "/mr-" + s.ID }

// aside is where reducers write.
func (s *Spec) aside() string { return s.Out + "/.mr-" + s.ID }
