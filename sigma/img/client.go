package img

import (
	"context"
	"encoding/json"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

// Jobs are the realm's jobs of images: their states, waiting for them, removing them.
var Jobs = job.Kind[Summary, *Summary]{Name: "img", Env: func(dir string) []string { return work{Role: "coordinator", Job: dir}.env() }}

// Summary is a job as it is listed.
type Summary struct {
	Spec   Spec     `json:"spec"`
	State  State    `json:"state"`
	Images []Result `json:"images,omitempty"` // of a job that has ended
}

// Head is what all kinds of jobs have.
func (s *Summary) Head() (*job.Spec, *job.State) { return &s.Spec.Spec, &s.State.State }

// Parts are what is kept.
func (s *Summary) Parts() (spec, state any) { return &s.Spec, &s.State }

// Submit starts a job.
func Submit(ctx context.Context, c *sigma.Client, s Spec) (*Spec, error) {
	if err := job.Fix(ctx, c.Names(), &s.In, &s.Out); err != nil {
		return nil, err
	}
	if err := s.normalize(); err != nil {
		return nil, err
	}
	sum := &Summary{Spec: s}
	if err := Jobs.Submit(ctx, c, sum); err != nil {
		return nil, err
	}
	return &sum.Spec, nil
}

// Results adds what became of each image to the summary of a job that has ended.
func (s *Summary) Results(ctx context.Context, c *sigma.Client) error {
	s.Images = nil
	for i := range s.State.Parts {
		p := partOf(Jobs.Dir(s.Spec.Name), i)
		b, _, err := c.Names().GetFile(ctx, p)
		if err != nil {
			return err
		}
		var part []Result
		if err := json.Unmarshal(b, &part); err != nil {
			return api.E(api.Internal, "img", p, "%v", err)
		}
		s.Images = append(s.Images, part...)
	}
	return nil
}
