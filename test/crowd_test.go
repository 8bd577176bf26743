package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// noticed is within what a death is known to all who wait for what depended on it.
const noticed = 5 * time.Second

// crowd are procs of one home that each bear a mark, by which their processes are
// found, and leave a note, by which a second start would be.
type crowd struct {
	t    *testing.T
	mark string
	c    *admin.Client
	wg   sync.WaitGroup

	mu   sync.Mutex
	list []*waited
}

// waited is one of them.
type waited struct {
	id  api.ProcID
	env string    // its mark
	at  time.Time // of its answer; zero is none yet
	st  api.Status
	err error
}

// start spawns so many and waits for each. The long ones end by being killed only.
func (w *crowd) start(ctx context.Context, count int, desc func(i int) api.ProcDesc) {
	for i := range count {
		w.wg.Go(func() {
			d := desc(i)
			d.Env = append(slices.Clone(d.Env), fmt.Sprintf("MARK=%s-%d-", w.mark, i))
			id, err := w.c.Spawn(ctx, &d)
			if err != nil {
				if api.KindOf(err) != api.Unavailable {
					w.t.Errorf("spawn: %v", err)
				}
				return
			}
			p := &waited{id: id, env: fmt.Sprintf("%s-%d-", w.mark, i)}
			w.mu.Lock()
			w.list = append(w.list, p)
			w.mu.Unlock()
			w.c.WaitStart(ctx, id) // must end; what it says, WaitExit says too
			st, err := w.c.WaitExit(ctx, id)
			w.mu.Lock()
			defer w.mu.Unlock()
			p.at, p.st, p.err = time.Now(), st, err
		})
	}
}

// open are those that have no answer yet.
func (w *crowd) open() (list []waited) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.list {
		if p.at.IsZero() {
			list = append(list, *p)
		}
	}
	return list
}

// stuck are those of the open ones that nobody runs, nor, where one may have them, a
// queue has.
func (w *crowd) stuck(ctx context.Context, queued bool) (out []string) {
	running := w.processes()
	for _, p := range w.open() {
		if running[p.env] == 1 {
			continue
		}
		y, err := w.c.Why(ctx, string(p.id))
		if err != nil || !queued || y.Proc.State != api.Queued {
			out = append(out, fmt.Sprintf("%s: %v, %v", p.id, y.Proc.State, err))
		}
	}
	return out
}

func (p *waited) String() string { return fmt.Sprintf("%s: %v, %v", p.id, p.st, p.err) }

// processes counts those that bear the crowd's mark, by mark.
func (w *crowd) processes() map[string]int {
	n := make(map[string]int)
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		for _, e := range strings.Split(string(b), "\x00") {
			if m, ok := strings.CutPrefix(e, "MARK="); ok && strings.HasPrefix(m, w.mark+"-") {
				n[m]++
			}
		}
	}
	return n
}

// once fails, until stop, where two processes bear one mark.
func (w *crowd) once(stop <-chan struct{}) {
	for {
		for m, n := range w.processes() {
			if n > 1 {
				w.t.Errorf("%d processes are %s", n, m)
			}
		}
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers checks what those who waited were told: the proc's own status, or, once
// the node had died, that it is lost or nobody can tell.
func (w *crowd) answers(died time.Time) (lost int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.list {
		switch {
		case p.at.IsZero():
			continue
		case p.err != nil && api.KindOf(p.err) != api.Unavailable, p.err == nil && p.st.Code == 1:
			w.t.Errorf("%s: %v, %v", p.id, p.st, p.err)
		case p.err == nil && p.st.OK(), p.st.State == api.Killed:
			continue
		case p.err == nil && p.st.State != api.Lost:
			w.t.Errorf("%s is %v", p.id, p.st)
		}
		lost++
		if d := p.at.Sub(died); d > noticed {
			w.t.Errorf("%s: %v, %v, after %v", p.id, p.st, p.err, d)
		}
	}
	return lost
}
