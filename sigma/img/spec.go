package img

import (
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
)

// Spec says what a job is to do. Submit fills in what is left out.
type Spec struct {
	job.Spec
	In string `json:"in"` // a directory of images
	Options
}

const (
	defMemory    = 384 << 20
	minMemory    = 64 << 20
	runtimeShare = 32 << 20 // of a worker's memory, for the Go run-time
	defTries     = 4
	defTaskLimit = time.Minute
)

// normalize fills in defaults and checks every field. Memory is a worker's whole.
func (s *Spec) normalize() error {
	job.Default(&s.Memory, defMemory)
	if err := s.Options.normalize(s.Name); err != nil {
		return err
	}
	if err := s.Normalize("img", defTaskLimit); err != nil {
		return err
	}
	if err := job.Paths("img", s.Name, s.In); err != nil {
		return err
	}
	switch {
	case s.In == s.Out || strings.HasPrefix(s.Out, s.In+"/"):
		return api.E(api.Invalid, "img", s.Name, "the output is in the input; name another directory")
	case s.Memory < minMemory:
		return api.E(api.Invalid, "img", s.Name, "%d bytes of memory; a worker needs %d MiB", s.Memory, minMemory>>20)
	}
	return nil
}

// forWorker are the options as a worker has them: of its memory, what is left for
// the image when the run-time and a collector that comes late have theirs.
func forWorker(o Options) Options {
	o.Memory = (o.Memory - runtimeShare) / 5 * 4
	return o
}
