package img

import (
	"encoding/json"
	"fmt"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
)

// verdict is what an attempt's end means.
type verdict int

const (
	made     verdict = iota // the image has its result
	refused                 // it cannot have one
	failed                  // the worker failed; a try is used up
	back                    // nobody can say whether the image is at fault
	hopeless                // no worker can be started, for this image or another
)

// judge says what the end of a worker means: report is of made and refused, the
// error of the others.
func judge(o job.Outcome, limit time.Duration) (v verdict, r report, err error) {
	switch {
	case o.Late:
		return failed, r, fmt.Errorf("proc %s: it took longer than the limit of %v for one attempt", o.Proc.Short(), limit)
	case o.Refused():
		return hopeless, r, o.Err
	case o.Err != nil:
		return back, r, o.Err
	}
	known := json.Unmarshal(o.Status.Data, &r) == nil
	err = fmt.Errorf("proc %s: %v", o.Proc.Short(), o.Status)
	switch {
	case o.Status.OK() && known:
		return made, r, nil
	case o.Status.State == api.Exited && r.Refused:
		return refused, r, err
	case r.Retry, o.NoVerdict():
		return back, r, err
	}
	return failed, r, err
}
