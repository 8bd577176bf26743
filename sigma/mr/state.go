package mr

import (
	"time"

	"sigmaos/sigma/job"
)

// Phases of a job, beside those of all jobs.
const (
	Mapping    job.Phase = "map"
	Reducing   job.Phase = "reduce"
	Publishing job.Phase = "publish"
)

// State is how far a job is, as its coordinators keep it.
type State struct {
	job.State
	Spent Spent `json:"spent"`

	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"` // of input
	Maps    Progress `json:"maps"`
	Reduces Progress `json:"reduces"`
	Redone  int      `json:"redone,omitempty"` // finished maps whose files were lost

	MapStats    Stats `json:"mapStats"` // of the attempts whose results count
	ReduceStats Stats `json:"reduceStats"`
	// StartP50 and StartP90 are from Spawn to the first line of the program, over
	// all tasks.
	StartP50 time.Duration `json:"startP50,omitempty"`
	StartP90 time.Duration `json:"startP90,omitempty"`
}

// Progress counts tasks of one kind.
type Progress struct {
	Total    int `json:"total"`
	Done     int `json:"done"`
	Running  int `json:"running,omitempty"`
	Attempts int `json:"attempts"`           // given out, in all
	Failures int `json:"failures,omitempty"` // of the functions
	Returned int `json:"returned,omitempty"` // lost, evicted, killed
	Copies   int `json:"copies,omitempty"`   // beside a slow attempt, by this leader
}

// Spent is the job's time by phase; of the time without a leader nothing is known.
type Spent struct {
	Plan    time.Duration `json:"plan,omitempty"`
	Map     time.Duration `json:"map,omitempty"`
	Reduce  time.Duration `json:"reduce,omitempty"`
	Publish time.Duration `json:"publish,omitempty"`
}

func (s *Spent) of(p job.Phase) *time.Duration {
	switch p {
	case job.Planning:
		return &s.Plan
	case Mapping:
		return &s.Map
	case Reducing:
		return &s.Reduce
	}
	return &s.Publish
}
