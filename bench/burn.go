package bench

import (
	"context"
	"errors"
	"fmt"

	"sigmaos/api"
	"sigmaos/runtime/cgroup"
)

// burners are best-effort procs that use all that they get, each of one thread.
type burners struct {
	c    Cluster
	ids  []api.ProcID
	view cgroup.View // of one of them
}

// burner is a program that uses all the CPU that it gets when it is told to burn.
type burner struct {
	program string // as make builds it
	memory  int64
	does    string
}

var loads = map[string]burner{
	"":    {"benchproc", 32 << 20, "that count"},
	"img": {"img", 96 << 20, "that scale an image again and again"},
}

// startBurners returns when all have started.
func startBurners(ctx context.Context, c Cluster, program string, memory int64, n int) (b *burners, err error) {
	b = &burners{c: c}
	defer func() {
		if err != nil {
			b.end(ctx)
		}
	}()
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawnTime)
	defer cancel()
	for range n {
		id, err := c.Spawn(sctx, &api.ProcDesc{Program: program, Name: "burn", Args: []string{"burn"}, Env: goEnv, Memory: memory})
		if err != nil {
			return b, err
		}
		b.ids = append(b.ids, id)
	}
	for _, id := range b.ids {
		if err := c.WaitStart(ctx, id); err != nil {
			return b, err
		}
	}
	procs, err := c.Procs(ctx, api.ProcFilter{})
	if err != nil {
		return b, err
	}
	for _, p := range procs {
		if p.ID == b.ids[0] {
			b.view, err = viewOf(p)
		}
	}
	return b, err
}

// end ends them, and waits.
func (b *burners) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawnTime)
	defer cancel()
	for _, id := range b.ids {
		b.c.Kill(ctx, id, 0)
	}
	for _, id := range b.ids {
		b.c.WaitExit(ctx, id)
	}
	b.ids = nil
}

// viewOf finds the groups of the node on which a proc runs.
func viewOf(p api.ProcInfo) (cgroup.View, error) {
	if p.PID == 0 {
		return cgroup.View{}, errors.New("bench: this client does not see the procs of the node; run it as the operator, on the node")
	}
	v, err := cgroup.ViewOf(p.PID)
	if err == nil && v.Realm == "" {
		err = fmt.Errorf("bench: process %d is in no realm's group", p.PID)
	}
	return v, err
}
