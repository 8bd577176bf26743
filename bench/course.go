package bench

import (
	"sort"
	"sync"
	"time"

	"sigmaos/bench/plot"
	"sigmaos/runtime/cgroup"
)

// Course is how something went over the time of a run.
type Course struct {
	Panel string    `json:"panel"` // courses of one panel are drawn together
	Name  string    `json:"name"`
	Unit  string    `json:"unit"`
	X     []float64 `json:"x_s"`
	Y     []float64 `json:"y"`
}

// coursePanels draw courses, those of one panel on one axis.
func (r Result) coursePanels() (out []plot.Panel) {
	for _, c := range r.Courses {
		if len(out) == 0 || out[len(out)-1].Title != c.Panel {
			out = append(out, plot.Panel{Title: c.Panel, Unit: c.Unit, XUnit: "s"})
		}
		l := plot.Line{Label: c.Name}
		for i := range c.X {
			l.Points = append(l.Points, plot.Point{X: c.X[i], Y: c.Y[i]})
		}
		p := &out[len(out)-1]
		p.Lines = append(p.Lines, l)
	}
	return out
}

// sampleTime is how often CPU times are read.
const sampleTime = 100 * time.Millisecond

// sampler reads the CPU times of groups from outside until it is stopped.
type sampler struct {
	view     cgroup.View
	patterns []string
	begin    time.Time
	stop     chan struct{}
	wg       sync.WaitGroup

	// Read once it has stopped.
	at  []time.Duration
	cpu [][]time.Duration // of each pattern at each moment
	err error
}

// sample starts one; the caller stops it.
func sample(view cgroup.View, patterns ...string) *sampler {
	s := &sampler{view: view, patterns: patterns, begin: time.Now(), stop: make(chan struct{}), cpu: make([][]time.Duration, len(patterns))}
	s.wg.Go(func() {
		tick := time.NewTicker(sampleTime)
		defer tick.Stop()
		for s.err = s.once(); s.err == nil; s.err = s.once() {
			select {
			case <-s.stop:
				s.err = s.once()
				return
			case <-tick.C:
			}
		}
	})
	return s
}

func (s *sampler) once() error {
	for i, p := range s.patterns {
		used, err := s.view.CPU(p)
		if err != nil {
			return err
		}
		s.cpu[i] = append(s.cpu[i], used)
	}
	s.at = append(s.at, time.Since(s.begin))
	return nil
}

// now is the time since the beginning.
func (s *sampler) now() time.Duration { return time.Since(s.begin) }

func (s *sampler) end() error {
	close(s.stop)
	s.wg.Wait()
	return s.err
}

// used is what a pattern had used by t, between two samples in proportion.
func (s *sampler) used(pattern int, t time.Duration) time.Duration {
	i := sort.Search(len(s.at), func(i int) bool { return s.at[i] >= t })
	switch cpu := s.cpu[pattern]; {
	case i == 0:
		return cpu[0]
	case i == len(cpu):
		return cpu[i-1]
	default:
		part := float64(t-s.at[i-1]) / float64(s.at[i]-s.at[i-1])
		return cpu[i-1] + time.Duration(part*float64(cpu[i]-cpu[i-1]))
	}
}

// cores are how many a pattern used on average.
func (s *sampler) cores(pattern int, from, to time.Duration) float64 {
	return float64(s.used(pattern, to)-s.used(pattern, from)) / float64(to-from)
}

// course of a pattern's cores, in windows of a length.
func (s *sampler) course(panel, name string, pattern int, window time.Duration) Course {
	c := Course{Panel: panel, Name: name, Unit: "cores"}
	for t := window; t <= s.at[len(s.at)-1]; t += window {
		c.X = append(c.X, (t - window/2).Seconds())
		c.Y = append(c.Y, max(0, s.cores(pattern, t-window, t)))
	}
	return c
}
