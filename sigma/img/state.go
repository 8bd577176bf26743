package img

import (
	"slices"
	"time"

	"sigmaos/sigma/job"
)

// Scaling is the phase between planning and the end.
const Scaling job.Phase = "scaling"

// State is how far a job is, as its coordinators keep it.
type State struct {
	job.State

	Total    int `json:"total"`
	Done     int `json:"done"`             // scaled
	Failed   int `json:"failed,omitempty"` // refused, or tried too often
	Running  int `json:"running,omitempty"`
	Attempts int `json:"attempts"`           // workers, in all
	Failures int `json:"failures,omitempty"` // of these, failed
	Returned int `json:"returned,omitempty"` // of these, lost or evicted

	Sums  Sums     `json:"sums"`
	Some  []Result `json:"some,omitempty"` // the first images that failed
	Parts int      `json:"parts,omitempty"`
}

// Sums are over the images that were scaled.
type Sums struct {
	InBytes  int64         `json:"in,omitempty"`
	OutBytes int64         `json:"out,omitempty"`
	Read     time.Duration `json:"read,omitempty"`
	Scale    time.Duration `json:"scale,omitempty"`
	Write    time.Duration `json:"write,omitempty"`
	CPU      time.Duration `json:"cpu,omitempty"`
	RSS      int64         `json:"rss,omitempty"` // the highest
	StartP50 time.Duration `json:"startP50,omitempty"`
	WallP50  time.Duration `json:"wallP50,omitempty"` // of one image
	WallP90  time.Duration `json:"wallP90,omitempty"`
	WallMax  time.Duration `json:"wallMax,omitempty"`
}

const (
	maxSome = 20
	perPart = 1000 // results in one file of the state
)

// count makes the figures those of what is known of the images.
func (s *State) count(results []Result) {
	s.Done, s.Failed, s.Sums, s.Some = 0, 0, Sums{}, nil
	var walls, starts []time.Duration
	for _, r := range results {
		if r.Error != "" {
			s.Failed++
			if len(s.Some) < maxSome {
				s.Some = append(s.Some, r)
			}
			continue
		}
		s.Done++
		s.Sums.InBytes += r.InBytes
		s.Sums.OutBytes += r.OutBytes
		s.Sums.Read += r.Read
		s.Sums.Scale += r.Scale
		s.Sums.Write += r.Write
		s.Sums.CPU += r.CPU
		s.Sums.RSS = max(s.Sums.RSS, r.RSS)
		walls, starts = append(walls, r.Wall), append(starts, r.Start)
	}
	if n := len(walls); n > 0 {
		slices.Sort(walls)
		slices.Sort(starts)
		s.Sums.StartP50, s.Sums.WallP50, s.Sums.WallP90, s.Sums.WallMax = starts[n/2], walls[n/2], walls[n*9/10], walls[n-1]
	}
}
