package img

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

// workVar is the environment variable that makes a program a part of a job or a
// service.
const workVar = "SIGMA_IMG"

// work is what such a proc is told.
type work struct {
	Role string `json:"role"`          // coordinator, service or worker
	Job  string `json:"job,omitempty"` // its directory

	Options // of a worker; Memory is the proc's whole
	In      string
	Out     string
	Exact   bool          `json:"exact,omitempty"` // Out is the file's name, whatever its format
	Taken   []string      `json:"taken,omitempty"` // endings of Out that other images have
	Attempt int           `json:"attempt,omitempty"`
	Limit   time.Duration `json:"limit,omitempty"`
	Spawned int64         `json:"spawned,omitempty"` // ns since 1970

	Service *Service `json:"service,omitempty"`
}

// Main does the part of a job or a service that the environment names, and then
// does not return. It returns where there is none.
func Main(fn Func) {
	began := time.Now()
	v := os.Getenv(workVar)
	if v == "" {
		return
	}
	w := new(work)
	if err := json.Unmarshal([]byte(v), w); err != nil {
		fmt.Fprintf(os.Stderr, "%s is not what a coordinator writes: %v\n", workVar, err)
		os.Exit(2)
	}
	switch w.Role {
	case "coordinator":
		Jobs.Coordinate(w.Job, newLeader)
	case "service":
		runService(w)
	default:
		runWorker(w, fn, began)
	}
}

// workerDesc is the proc that does w with a program.
func workerDesc(program string, w work) *sigma.Desc {
	w.Role, w.Spawned = "worker", time.Now().UnixNano()
	d := &sigma.Desc{Program: program, Name: "img-worker", Memory: w.Memory, Env: w.env()}
	if node := job.NodeOf(w.In); node != "" {
		d.Near = []string{node}
	}
	return d
}

// env is the environment of a proc that does w.
func (w work) env() []string {
	b, _ := json.Marshal(w)
	return []string{workVar + "=" + string(b)}
}
