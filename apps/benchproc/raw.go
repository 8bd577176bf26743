package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"sigmaos/sigma"
)

// raw runs the verbs of raw: both ends are plain processes. A kind with
// "sigma-" in front uses sigma's Conn on its connection, others Go's own.
func raw(ctx context.Context, args []string) (any, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("want raw serve|run tcp|fd …, not %q", args)
	}
	kind, ours := strings.CutPrefix(args[1], "sigma-")
	wrap := func(c net.Conn, err error) (net.Conn, error) { return c, err }
	if ours {
		wrap = overSigma
	}
	switch verb := args[0] + " " + kind; {
	case verb == "serve tcp" && len(args) == 3:
		lis, err := net.Listen("tcp", args[2])
		if err != nil {
			return nil, err
		}
		fmt.Println(lis.Addr())
		return nil, acceptAll(lis, wrap) // until it is killed
	case verb == "serve fd" && len(args) == 3:
		c, err := wrap(inherited(args[2]))
		if err != nil {
			return nil, err
		}
		fmt.Println("serving")
		return nil, serve(c)
	case verb == "run tcp" && len(args) == 7:
		var d net.Dialer
		return rawClient(ctx, args[3:], func(ctx context.Context) (net.Conn, error) { return wrap(d.DialContext(ctx, "tcp", args[2])) })
	case verb == "run fd" && len(args) == 7:
		if args[3] != "0" {
			return nil, fmt.Errorf("an inherited connection cannot be dialled again: DIALS must be 0")
		}
		return rawClient(ctx, args[3:], func(context.Context) (net.Conn, error) { return wrap(inherited(args[2])) })
	}
	return nil, fmt.Errorf("want raw serve|run tcp|fd …, not %q", args)
}

// overSigma puts sigma's Conn in the place of Go's.
func overSigma(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s, err := sigma.FileConn(c.(syscall.Conn))
	if err != nil {
		return nil, err
	}
	return s, nil
}

func rawClient(ctx context.Context, args []string, dial dialer) (any, error) {
	p, err := parsePlan(args)
	if err != nil {
		return nil, err
	}
	return client(ctx, dial, func() error {
		_, err := fmt.Println("ready")
		return err
	}, p)
}

// inherited makes a connection of a descriptor.
func inherited(s string) (net.Conn, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 3 {
		return nil, fmt.Errorf("%q is no descriptor", s)
	}
	f := os.NewFile(uintptr(n), "connection")
	defer f.Close() // FileConn has its own
	return net.FileConn(f)
}
