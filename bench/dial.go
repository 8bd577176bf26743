package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigmaos/bench/lab"
)

// dialRounds divide the dials of a row.
const dialRounds = 12

// delay makes a round trip visible: on a veth pair it is as long as waking a
// process.
const (
	delay   = 5 * time.Millisecond // each way
	delayed = "-delayed"           // behind the names of rows over it
)

// Dial measures how long it takes from the call of Dial until it returns a
// connection, and until the first message on that connection is back. On one
// node it is compared with connect on the loopback, between two nodes with
// connect over the same veth pair; how much longer it takes is also told in round
// trips of that way, once as it is and once with a way that is longer.
func Dial(ctx context.Context, c Cluster, o Options) (Result, error) {
	n := o.N
	if n == 0 {
		n = 600
	}
	p := plan{dials: max(n/dialRounds, 1), pings: 200}
	program, path, err := upload(ctx, c, o, "benchproc", "make")
	if err != nil {
		return Result{}, err
	}
	r := Result{Bench: "dial"}
	here, err := lab.Here()
	if err != nil {
		return r, err
	}
	defer here.Close()
	fmt.Fprintf(o.Log, "one node: %d dials\n", p.dials*dialRounds)
	near := &series{name: "same-node", link: sigmaLink{c, c, program}, plan: p}
	tcp := &series{name: "raw-tcp-connect-loopback", link: tcpLink{goConn, nil, path, here, here, "127.0.0.1"}, plan: p}
	if err := interleave(ctx, dialRounds, near, tcp); err != nil {
		return r, err
	}
	r.Rows = append(r.Rows, rows("dial", near, tcp)...)
	r.Rows = append(r.Rows, rows("dial", tcp)...)
	if err := r.farDial(ctx, o, p, path); err != nil {
		return r, err
	}
	r.headline("same-node", "dial", 0)
	return r, nil
}

// farDial adds the rows of two nodes.
func (r *Result) farDial(ctx context.Context, o Options, p plan, path string) (err error) {
	f, err := openFar(ctx, o, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	fmt.Fprintf(o.Log, "two nodes: %d dials\n", p.dials*dialRounds)
	ours := &series{name: "other-node", link: f.sigma, plan: p}
	raw := &series{name: "raw-tcp-connect", link: f.raw(goConn, nil, f.pair.Addr(1)), plan: p}
	if err := interleave(ctx, dialRounds, ours, raw); err != nil {
		return err
	}
	r.addTrips(ours, raw)
	if err := r.docker(ctx, o, dialRounds, p, raw, place{}); err != nil {
		return err
	}
	undo, err := f.pair.Delay(delay)
	if err != nil {
		r.Rows = append(r.Rows, Result{Bench: "dial", Row: "other-node" + delayed, Note: "not measured: " + err.Error()})
		return nil
	}
	defer func() { err = errors.Join(err, undo()) }()
	p = plan{dials: max(p.dials/10, 1), pings: 20}
	ours = &series{name: "other-node" + delayed, link: f.sigma, plan: p}
	raw = &series{name: "raw-tcp-connect" + delayed, link: f.raw(goConn, nil, f.pair.Addr(1)), plan: p}
	if err := interleave(ctx, 4, ours, raw); err != nil {
		return err
	}
	r.addTrips(ours, raw)
	return nil
}

// addTrips adds the rows of an endpoint and of plain connections over the same
// way, and tells the difference in round trips.
func (r *Result) addTrips(ours, raw *series) {
	theirs := rows("dial", raw)
	rtt, _ := find(theirs, raw.name, "rtt", 0)
	mine := rows("dial", ours, raw)
	for i, x := range mine {
		if x.Measure != "rtt" {
			mine[i].RoundTrips = (x.Value - x.AgainstValue) / rtt.Value
		}
	}
	r.Rows = append(r.Rows, mine...)
	r.Rows = append(r.Rows, theirs...)
}
