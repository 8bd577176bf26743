package bench

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"sigmaos/runtime/cgroup"
)

// cells are cgroups like those of procs, for plain processes. Every process of
// one weighs what a proc weighs and changes places with others as dearly: on one
// CPU the kernel takes 2 to 3 µs a round trip longer between two groups than
// within one. What is left of a difference is not the cgroups'.
type cells struct {
	layout cgroup.Layout
	tree   *cgroup.Tree
	next   int
}

// newCells makes the tree; the caller closes.
func newCells() (*cells, error) {
	sweep()
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	tree, err := cgroup.Open(cgroup.Config{Layout: layout, Root: fmt.Sprint(ownPrefix, os.Getpid()), Node: "plain"})
	if err != nil {
		return nil, err
	}
	return &cells{layout: layout, tree: tree}, nil
}

func (c *cells) close() error { return c.tree.Close() }

// confine puts each process into a cell of its own.
func (c *cells) confine(pids ...int) (empty func() error, err error) {
	var made []*cgroup.Group
	empty = func() (err error) {
		for _, g := range made {
			err = errors.Join(err, g.Close())
		}
		return err
	}
	for _, pid := range pids {
		c.next++
		g, err := c.tree.NewGroup(cgroup.LC, "plain", strconv.Itoa(c.next))
		if err != nil {
			return empty, err
		}
		made = append(made, g)
		if err := errors.Join(g.SetCPU(int(reservedMCPU())), g.Add(pid)); err != nil {
			return empty, err
		}
	}
	return empty, nil
}
