package mr

import (
	"context"
	"time"

	"sigmaos/sigma"
)

const (
	standbyEvery = time.Second
	standbyStart = 10 * time.Second // for a new one to be there
)

// keepStandbys starts coordinators where some have gone, so that there are three.
// stop ends that and waits.
func (l *leader) keepStandbys(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(standbyEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			list, err := l.n.ReadDir(ctx, l.dir+coordsDir, "", 0)
			if err != nil || len(list) >= coordinators {
				continue
			}
			l.startCoordinators(ctx, coordinators-len(list))
		}
	}()
	return func() { cancel(); <-done }
}

// startCoordinators starts so many and waits until they have had time to be seen.
func (l *leader) startCoordinators(ctx context.Context, count int) {
	ctx, cancel := context.WithTimeout(ctx, standbyStart)
	defer cancel()
	for range count {
		id, err := sigma.Spawn(ctx, apart(ctx, l.n, l.spec, coordinatorDesc(l.spec)))
		if err != nil {
			return
		}
		if err := sigma.WaitStart(ctx, id); err != nil { // no room for it now
			kctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
			sigma.Kill(kctx, id, 0)
			cancel()
			return
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(standbyEvery):
	}
}
