package bench

import (
	"context"
	"errors"
	"time"

	"sigmaos/api"
)

// sigmaLink is an endpoint: both ends are procs, on one node or on two.
type sigmaLink struct {
	server, client Cluster
	program        string // a digest that both have
}

func (l sigmaLink) open(ctx context.Context, plan []string) (*session, error) {
	srv, err := startProc(ctx, l.server, l.program, "net", "serve")
	if err != nil {
		return nil, err
	}
	ep, err := endpointOf(ctx, l.server, srv.ID)
	if err != nil {
		endProc(ctx, l.server, srv.ID)
		return nil, err
	}
	cli, err := startProc(ctx, l.client, l.program, append([]string{"net", "run", string(ep)}, plan...)...)
	if err != nil {
		endProc(ctx, l.server, srv.ID)
		return nil, err
	}
	return &session{
		server: srv.PID, client: cli.PID,
		result: func(ctx context.Context) ([]byte, error) {
			st, err := l.client.WaitExit(ctx, cli.ID)
			if err != nil {
				return nil, err
			}
			if !st.OK() {
				return nil, api.E(api.Internal, "bench", string(cli.ID), "the client ended: %v", st)
			}
			return l.client.Output(ctx, cli.ID)
		},
		close: func() {
			endProc(ctx, l.client, cli.ID)
			endProc(ctx, l.server, srv.ID)
		},
	}, nil
}

// reservedMCPU of each process is nearly half of the machine, or a core: other
// work there takes little time from it.
func reservedMCPU() int64 { return min(1000, int64(cores())*450) }

// startProc starts benchproc and returns it once it said Started, with its pid
// while it runs and where this client may see that.
func startProc(ctx context.Context, c Cluster, program string, args ...string) (api.ProcInfo, error) {
	return startReserved(ctx, c, program, reservedMCPU(), goEnv, args...)
}

func startReserved(ctx context.Context, c Cluster, program string, mcpu int64, env []string, args ...string) (api.ProcInfo, error) {
	// Not given up in the middle: it would run on without anybody who knows its id.
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawnTime)
	defer cancel()
	domain, err := domainOf(sctx, c)
	if err != nil {
		return api.ProcInfo{}, err
	}
	id, err := c.Spawn(sctx, &api.ProcDesc{
		Program: program, Name: "bench", Args: args, Env: env, Memory: 64 << 20, Class: api.LC, MCPU: mcpu, Domain: domain,
	})
	if err != nil {
		return api.ProcInfo{}, err
	}
	p, err := started(ctx, c, id)
	if err != nil {
		endProc(ctx, c, id)
	}
	return p, err
}

// domainOf is the failure domain of the node that c is connected to, which keeps a
// proc on it: each node of a bench has one of its own.
func domainOf(ctx context.Context, c Cluster) (string, error) {
	nodes, err := c.Nodes(ctx)
	for _, n := range nodes {
		if n.Self {
			return n.Domain, nil
		}
	}
	return "", err
}

func started(ctx context.Context, c Cluster, id api.ProcID) (api.ProcInfo, error) {
	if err := c.WaitStart(ctx, id); err != nil {
		return api.ProcInfo{}, err
	}
	procs, err := c.Procs(ctx, api.ProcFilter{})
	if err != nil {
		return api.ProcInfo{}, err
	}
	for _, p := range procs {
		if p.ID == id {
			return p, nil
		}
	}
	return api.ProcInfo{ID: id}, nil // ended already: it had little to do
}

// spawnTime bounds a Spawn, which waits for nothing, and the end of a proc that
// is ended by force.
const spawnTime = 10 * time.Second

// endProc ends a proc, whatever became of ctx, and waits for its end.
func endProc(ctx context.Context, c Cluster, id api.ProcID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawnTime)
	defer cancel()
	if c.Kill(ctx, id, 0) == nil {
		c.WaitExit(ctx, id)
	}
}

// endpointOf finds what a proc listens on.
func endpointOf(ctx context.Context, c Cluster, id api.ProcID) (api.Endpoint, error) {
	list, err := c.Endpoints(ctx)
	if err != nil {
		return "", err
	}
	for _, e := range list {
		if e.Proc == id {
			return e.Endpoint, nil
		}
	}
	return "", errors.New("bench: the server made no endpoint")
}
