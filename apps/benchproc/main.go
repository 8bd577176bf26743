// Benchproc plays the tenant in the measurements of sigmactl bench. What it
// measures it prints as one JSON object.
//
// As a proc:
//
//	benchproc start N PROGRAM         N starts, one at a time: ns from the call of
//	                                  Spawn to the first line of main
//	benchproc rate R SECONDS PROGRAM  starts at R a second, open loop
//	benchproc net serve               listens on an endpoint
//	benchproc net run EP PLAN         dials it and measures the connection
//	benchproc burn                    uses all of a core until it is killed
//	benchproc lc serve US             serves requests, each US µs of work
//	benchproc lc run EP LOAD          sends them on a schedule, open loop (latency.go)
//	benchproc stream read PATH BYTES  reads a file of the realm to its end
//	benchproc stream write PATH BYTES writes one, until it is whole (stream.go)
//
// As a plain process, the other side of the ratios, with the same client and
// server (exchange.go):
//
//	benchproc raw serve tcp ADDR      listens, and prints where
//	benchproc raw run tcp ADDR PLAN   connects and measures
//	benchproc raw serve fd N          serves a connection that it inherited
//	benchproc raw run fd N PLAN       measures one
//
// tcp and fd read and write with Go's own net.Conn; sigma-tcp and sigma-fd with
// that of sigma, so that nothing but the connection differs from a proc's.
//
// PLAN is DIALS PINGS BYTES CPUS: how many connections to make, how many
// messages to send there and back, how many bytes to write, and on which CPUs:
// 0,1, or - for any. The client connects, says that it is ready (Started; a line
// on stdout), and begins when its threads have been put on those CPUs.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"sigmaos/sigma"
)

func main() {
	ctx, args := context.Background(), os.Args[1:]
	if len(args) > 0 && args[0] == "raw" { // no proc: there is no sigmad
		result, err := raw(ctx, args[1:])
		os.Exit(finish(result, err))
	}
	var result any
	var err error
	switch {
	case len(args) > 0 && args[0] == "net":
		result, err = endpoints(ctx, args[1:])
	case len(args) > 0 && args[0] == "lc":
		result, err = latency(ctx, args[1:])
	case len(args) > 0 && args[0] == "stream":
		sigma.Started(ctx)
		result, err = stream(ctx, args[1:])
	case len(args) == 1 && args[0] == "burn":
		sigma.Started(ctx)
		burn()
	default:
		sigma.Started(ctx)
		result, err = spawning(ctx, args)
	}
	st := sigma.Status{Code: finish(result, err)}
	if err != nil {
		st.Message = err.Error()
	}
	sigma.Exited(st)
	os.Exit(st.Code)
}

// finish prints the result, or why there is none, and returns the exit status.
func finish(result any, err error) int {
	if err == nil && result != nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchproc:", err)
		return 1
	}
	return 0
}
