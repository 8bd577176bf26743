package img

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

const (
	spawnTime = 30 * time.Second // for a Spawn to be taken
	startTime = time.Hour        // in the queue
	killTime  = 2 * time.Second
	limitMore = 5 * time.Second // beyond the limit, for a worker that does not end itself
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

// attempt is one worker, from its Spawn to its end.
type attempt struct {
	proc    sigma.ProcID
	verdict verdict
	report  report // of made and refused
	err     error  // of the others
}

// try starts a worker and waits for its end. When ctx ends, so does the worker.
func try(ctx context.Context, d *sigma.Desc, limit time.Duration) (a attempt) {
	sctx, cancel := context.WithTimeout(ctx, spawnTime)
	a.proc, a.err = sigma.Spawn(sctx, d)
	cancel()
	if a.err != nil {
		a.verdict = back
		if permanent(a.err) || api.KindOf(a.err) == api.NoCapacity {
			a.verdict = hopeless
		}
		return a
	}
	wctx, cancel := context.WithTimeout(ctx, startTime)
	err := sigma.WaitStart(wctx, a.proc)
	cancel()
	wctx, cancel = context.WithTimeout(ctx, limit+limitMore)
	defer cancel()
	var st sigma.Status
	if _, ended := err.(*sigma.ExitError); err == nil || ended {
		st, err = sigma.WaitExit(wctx, a.proc)
	}
	if err == nil {
		a.judge(st)
		return a
	}
	a.verdict, a.err = back, err
	if ctx.Err() == nil && wctx.Err() != nil {
		a.verdict, a.err = failed, fmt.Errorf("proc %s: it took longer than the limit of %v for one attempt", a.proc.Short(), limit)
	}
	kctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	sigma.Kill(kctx, a.proc, 0)
	return a
}

// judge says what a worker's status means.
func (a *attempt) judge(st sigma.Status) {
	known := json.Unmarshal(st.Data, &a.report) == nil
	a.err = fmt.Errorf("proc %s: %v", a.proc.Short(), st)
	switch {
	case st.OK() && known:
		a.verdict, a.err = made, nil
	case st.State == api.Exited && a.report.Refused:
		a.verdict = refused
	case st.State == api.Exited && (a.report.Retry || st.Code == exitOver):
		a.verdict = back
	case st.State == api.Exited, st.State == api.OOM, st.State == api.Signal, st.State == api.Killed:
		a.verdict = failed
	default: // lost, evicted, refused
		a.verdict = back
	}
}
