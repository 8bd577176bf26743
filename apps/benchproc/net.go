package main

import (
	"context"
	"fmt"
	"net"

	"sigmaos/sigma"
)

// endpoints runs the verbs of net: both ends are procs.
func endpoints(ctx context.Context, args []string) (any, error) {
	switch {
	case len(args) == 1 && args[0] == "serve":
		lis, _, err := sigma.NewEndpoint(ctx) // who measures finds it by its proc
		if err != nil {
			return nil, err
		}
		if err := sigma.Started(ctx); err != nil {
			return nil, err
		}
		return nil, acceptAll(lis, func(c net.Conn, err error) (net.Conn, error) { return c, err }) // until it is killed
	case len(args) == 6 && args[0] == "run":
		p, err := parsePlan(args[2:])
		if err != nil {
			return nil, err
		}
		dial := func(ctx context.Context) (net.Conn, error) { return sigma.Dial(ctx, sigma.Endpoint(args[1])) }
		return client(ctx, dial, func() error { return sigma.Started(ctx) }, p)
	}
	return nil, fmt.Errorf("want net serve or net run EP PLAN, not %q", args)
}
