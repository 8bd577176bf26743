package bench

import (
	"context"
	"errors"
	"fmt"

	"sigmaos/bench/lab"
)

// far is what the rows of two nodes stand on.
type far struct {
	pair  *lab.Pair
	nodes *twoNodes
	sigma link // an endpoint on one node, dialled on the other
	path  string
}

// openFar starts two nodes; the caller closes.
func openFar(ctx context.Context, o Options, path string) (f *far, err error) {
	f = &far{path: path}
	if f.pair, err = lab.NewPair(); err != nil {
		return nil, err
	}
	if f.nodes, err = startNodes(ctx, o, f.pair); err != nil {
		f.pair.Close()
		return nil, err
	}
	if f.sigma, err = f.nodes.link(ctx, path); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *far) close() error {
	err := f.nodes.close()
	f.pair.Close()
	return err
}

// raw is TCP between plain processes in the nodes' networks, to an address on
// node b.
func (f *far) raw(conn string, c confiner, addr string) link {
	return tcpLink{conn, c, f.path, f.pair.Side[1], f.pair.Side[0], addr}
}

// watch looks at the connections of the nodes' procs.
func (f *far) watch() (*watch, error) {
	return newWatch("tcp", f.nodes.node[1].pid, f.nodes.node[0].pid)
}

// far adds the rows of two nodes.
func (r *Result) far(ctx context.Context, o Options, n int, path string) (err error) {
	where, err := places()
	if err != nil {
		return err
	}
	at := where[len(where)-1] // a CPU for each side, where there are two
	f, err := openFar(ctx, o, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	cells, err := newCells()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cells.close()) }()
	w, err := f.watch()
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Log, "two nodes: %d rounds\n", n)
	ours := &series{name: "other-node", link: f.sigma, at: at, plan: farPlan, look: w.look}
	raw := &series{name: "raw-tcp", link: f.raw(sameConn, nil, f.pair.Addr(1)), at: at, plan: farPlan}
	apart := &series{name: "raw-tcp-cells", link: f.raw(sameConn, cells, f.pair.Addr(1)), at: at, plan: farPlan}
	plain := &series{name: "raw-tcp-go", link: f.raw(goConn, nil, f.pair.Addr(1)), at: at, plan: farPlan}
	all := []*series{ours, raw, apart, plain}
	overlay, oerr := f.pair.Overlay()
	if oerr == nil {
		all = append(all, &series{name: "vxlan", link: f.raw(goConn, nil, overlay[1]), at: at, plan: farPlan})
	}
	if err := interleave(ctx, n, all...); err != nil {
		return err
	}
	r.Rows = append(r.Rows, rows(r.Bench, ours, raw, apart, plain)...)
	r.Rows = append(r.Rows, rows(r.Bench, raw)...)
	r.Rows = append(r.Rows, rows(r.Bench, apart)...)
	r.Rows = append(r.Rows, rows(r.Bench, plain)...)
	if oerr == nil {
		r.Rows = append(r.Rows, rows(r.Bench, all[4], plain)...)
	} else {
		r.Rows = append(r.Rows, Result{Bench: r.Bench, Row: "vxlan", Note: "not measured: " + oerr.Error()})
	}
	checks, err := w.checks("other-node", ours.moved())
	if err != nil {
		return err
	}
	r.Checks = append(r.Checks, checks...)
	return r.docker(ctx, o, n, farPlan, plain, at)
}
