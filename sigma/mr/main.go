package mr

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
)

// Main is the main function of a job's program. In a proc of a job it does that
// proc's part, and does not return. Elsewhere the program runs its jobs by itself:
// PROG APP [-j THREADS] [-o DIR] [ARGS …] -- FILES is the same job, on files of the
// machine, in one process.
func Main(apps ...App) {
	began := time.Now()
	if v := os.Getenv(workVar); v != "" {
		w := new(work)
		if err := json.Unmarshal([]byte(v), w); err != nil {
			fmt.Fprintf(os.Stderr, "%s is not what a coordinator writes: %v\n", workVar, err)
			os.Exit(2)
		}
		if w.Role == "coordinator" {
			Jobs.Coordinate(w.Job, func(t *job.Term, s *Summary) job.Work { return newLeader(t, s, apps) })
		}
		runWork(w, apps, began)
	}
	os.Exit(plainMain(os.Args[1:], apps, os.Stdout, os.Stderr))
}

// choose finds an app by name; "" is the first.
func choose(apps []App, name string) (App, error) {
	var names []string
	for _, a := range apps {
		if a.Name == name || name == "" {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return App{}, api.E(api.Invalid, "mr", name, "the program has no such app; it has %s", strings.Join(names, ", "))
}
