package bench

import (
	"context"
	"errors"
	"fmt"

	"sigmaos/bench/lab"
)

// Rounds of net where nothing else was said, and what a client does in each.
const netRounds = 31

var (
	netPlan = plan{pings: 1000, bytes: 64 << 20}
	farPlan = plan{dials: 20, pings: 1000, bytes: 64 << 20} // between nodes also Figure 7's first column
)

// Net measures connections that stand: 64 bytes there and back, and writes of
// 1 MB. On one node an endpoint against a socketpair between two processes and
// TCP on the loopback, on one CPU and on two; between two nodes against TCP over
// the same veth pair, a VXLAN and, where there is one, a docker bridge. What it
// is compared with reads and writes by the same code, sigma's Conn; rows that
// end in -go have Go's own net.Conn, those in -cells the same Conn and a cgroup
// for each process, as procs have, -service one as services have.
func Net(ctx context.Context, c Cluster, o Options) (Result, error) {
	n := o.N
	if n == 0 {
		n = netRounds
	}
	program, path, err := upload(ctx, c, o, "benchproc", "make")
	if err != nil {
		return Result{}, err
	}
	r := Result{Bench: "net"}
	if err := r.near(ctx, c, o, n, program, path); err != nil {
		return r, err
	}
	if err := r.far(ctx, o, n, path); err != nil {
		return r, err
	}
	r.headline("other-node", "rtt", 2)
	return r, nil
}

// headline makes one of the rows the bench's own figure.
func (r *Result) headline(row, measure string, cpus int) {
	h, ok := find(r.Rows, row, measure, cpus)
	if !ok {
		r.Note = "there is no row " + row + " in this run"
		return
	}
	h.Rows, h.Checks = r.Rows, r.Checks
	h.Note = ""
	*r = h
}

// near adds the rows of one node.
func (r *Result) near(ctx context.Context, c Cluster, o Options, n int, program, path string) (err error) {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	here, err := lab.Here()
	if err != nil {
		return err
	}
	defer here.Close()
	cells, err := newCells()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cells.close()) }()
	where, err := places()
	if err != nil {
		return err
	}
	for _, at := range where {
		w, err := newWatch("unix", info.PID, info.PID)
		if err != nil {
			return err
		}
		fmt.Fprintf(o.Log, "one node, %d CPU(s): %d rounds\n", at.cpus(), n)
		sigma := &series{name: "same-node", link: sigmaLink{c, c, program}, at: at, plan: netPlan, look: w.look}
		others := []*series{
			{name: "socketpair", link: pairLink{sameConn, nil, path, here}, at: at, plan: netPlan},
			{name: "tcp-loopback", link: tcpLink{sameConn, nil, path, here, here, "127.0.0.1"}, at: at, plan: netPlan},
			{name: "socketpair-cells", link: pairLink{sameConn, cells, path, here}, at: at, plan: netPlan},
			{name: "socketpair-service", link: pairLink{sameConn, &services{layout: cells.layout}, path, here}, at: at, plan: netPlan},
			{name: "socketpair-go", link: pairLink{goConn, nil, path, here}, at: at, plan: netPlan},
			{name: "tcp-loopback-go", link: tcpLink{goConn, nil, path, here, here, "127.0.0.1"}, at: at, plan: netPlan},
		}
		if err := interleave(ctx, n, append(others, sigma)...); err != nil {
			return err
		}
		r.Rows = append(r.Rows, rows("net", sigma, others...)...)
		for _, s := range others {
			r.Rows = append(r.Rows, rows("net", s)...)
		}
		checks, err := w.checks(fmt.Sprintf("same-node, %d CPU(s)", at.cpus()), sigma.moved())
		if err != nil {
			return err
		}
		r.Checks = append(r.Checks, checks...)
	}
	return nil
}
