package main

import (
	"fmt"
	"regexp"

	"sigmaos/api"
	"sigmaos/sigma/mr"
)

// newGrep finds the lines that match a pattern. A line of the output is the file
// and the byte at which the line is, a tab, and the line.
func newGrep(args []string) (mr.Job, error) {
	if len(args) != 1 {
		return mr.Job{}, api.E(api.Invalid, "grep", "", "grep has one argument, a regular expression; it has %d", len(args))
	}
	re, err := regexp.Compile(args[0])
	if err != nil {
		return mr.Job{}, api.E(api.Invalid, "grep", args[0], "%v", err)
	}
	return mr.Job{
		Map: func(rec mr.Record, emit mr.Emit) error {
			if re.Match(rec.Text) {
				emit(fmt.Appendf(nil, "%s:%012d", rec.File, rec.Offset), rec.Text)
			}
			return nil
		},
		Reduce: func(place []byte, values *mr.Values, emit mr.Emit) error {
			for v, ok := values.Next(); ok; v, ok = values.Next() {
				emit(place, v)
			}
			return nil
		},
	}, nil
}
