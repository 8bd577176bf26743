package mr

import (
	"context"

	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

// Jobs are the realm's MapReduce jobs: their states, waiting for them, removing them.
var Jobs = job.Kind[Summary, *Summary]{Name: "mr", Env: func(dir string) []string { return work{Role: "coordinator", Job: dir}.env() }}

// Summary is a job as it is listed.
type Summary struct {
	Spec  Spec  `json:"spec"`
	State State `json:"state"`
}

// Head is what all kinds of jobs have.
func (s *Summary) Head() (*job.Spec, *job.State) { return &s.Spec.Spec, &s.State.State }

// Parts are what is kept.
func (s *Summary) Parts() (spec, state any) { return &s.Spec, &s.State }

// Submit starts a job.
func Submit(ctx context.Context, c *sigma.Client, s Spec) (*Spec, error) {
	if err := s.normalize(); err != nil {
		return nil, err
	}
	paths := []*string{&s.Out}
	for i := range s.In {
		paths = append(paths, &s.In[i])
	}
	if err := job.Fix(ctx, c.Names(), paths...); err != nil {
		return nil, err
	}
	sum := &Summary{Spec: s}
	if err := Jobs.Submit(ctx, c, sum); err != nil {
		return nil, err
	}
	return &sum.Spec, nil
}
