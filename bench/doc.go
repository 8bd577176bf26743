// Package bench measures what σOS promises, as ratios to something measured in
// the same run. Rounds of both sides are interleaved; a figure is a median over
// rounds; the share of CPU time that the host took away is part of the result.
// Nothing is switched off for a bench: the procs run as a tenant's do.
//
// # Connections
//
// [Dial] and [Net] compare links: ways in which two processes may talk (link.go).
// Every link is measured by one program, apps/benchproc, with the same client and
// server; what differs is how the two come by a connection. A round starts a new
// server and a new client, lets them connect, looks at them from outside (which
// descriptor is the connection), puts each on its CPU, and takes what the client
// measured. Rounds of the links that are compared follow each other, and the one
// that begins changes from round to round. A ratio between two links comes with
// an interval over the pairs of rounds (stats.go).
//
// # Shares of the CPU
//
// [Fair] and [LC] load the machine with procs and read from outside, from the
// procs' cgroups, what each of them got over time (course.go). A busy machine
// disturbs both: what others use is not there to be shared.
//
// # Two nodes
//
// The benches of two nodes start these themselves (nodes.go): two sigmads in two
// network namespaces that a veth pair joins. What they are compared with runs in
// the same namespaces.
package bench

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// Cluster is what a bench needs of a client: see sigma/admin.
type Cluster interface {
	Info(ctx context.Context) (api.ClusterInfo, error)
	Upload(ctx context.Context, path string) (api.Program, error)
	Spawn(ctx context.Context, d *api.ProcDesc) (api.ProcID, error)
	WaitStart(ctx context.Context, id api.ProcID) error
	WaitExit(ctx context.Context, id api.ProcID) (api.Status, error)
	Kill(ctx context.Context, id api.ProcID, grace time.Duration) error
	// Output is a proc's whole stdout.
	Output(ctx context.Context, id api.ProcID) ([]byte, error)
	// Run spawns a proc and returns its whole stdout and its status.
	Run(ctx context.Context, d *api.ProcDesc) (stdout []byte, id api.ProcID, st api.Status, err error)
	Procs(ctx context.Context, f api.ProcFilter) ([]api.ProcInfo, error)
	Endpoints(ctx context.Context) ([]api.EndpointInfo, error)
	CreateRealm(ctx context.Context, name string) error
	RemoveRealm(ctx context.Context, name string) error
	Nodes(ctx context.Context) ([]api.NodeInfo, error)
	Why(ctx context.Context, id string) (api.Why, error)
	// JoinToken is what admits a node.
	JoinToken(ctx context.Context) ([]byte, error)
	InRealm(ctx context.Context, name string) (Cluster, io.Closer, error)
	// Sigma is the client as programs have it.
	Sigma() *sigma.Client
}

// Options of a run.
type Options struct {
	Programs string // directory of hello, hello-c, benchproc, img
	Log      io.Writer
	N        int     // starts or dials in all, rounds of net; 0 is the bench's own
	Seconds  float64 // of one measured second in rate; 0 is 10
	// Load is what the procs of fair do: img scales images, "" counts.
	Load  string
	Bytes int64 // of the object of s3; 0 is 256 MiB
	// Corpus is the text of mr: S, M or L, or a directory; "" is M.
	Corpus string
	// Sigmad is the program of which benches of two nodes start two.
	Sigmad string
	// Connect reaches the operator's socket of one of those.
	Connect func(ctx context.Context, sock string) (Cluster, io.Closer, error)
}

// Benches lists what can be measured.
var Benches = map[string]func(context.Context, Cluster, Options) (Result, error){
	"start": Start,
	"rate":  Rate,
	"cold":  Cold,
	"dial":  Dial,
	"net":   Net,
	"name":  Name,
	"fair":  Fair,
	"lc":    LC,
	"mr":    MR,
	"s3":    S3,
	"place": Place,
}

// Names are the benches in order.
func Names() []string { return slices.Sorted(maps.Keys(Benches)) }

// maxStolen is the share of stolen time above which a run does not count.
const maxStolen = 0.03

// Run runs a bench, again when the host took too much of it.
func Run(ctx context.Context, name string, c Cluster, o Options) (Result, error) {
	fn, ok := Benches[name]
	if !ok {
		return Result{}, api.E(api.Invalid, "bench", name, "there are %s", strings.Join(Names(), ", "))
	}
	info, err := c.Info(ctx)
	if err != nil {
		return Result{}, err
	}
	for try := 1; ; try++ {
		before, wanted := cpuTimes(), load()
		r, err := fn(ctx, c, o)
		if err != nil {
			return r, err
		}
		after := cpuTimes()
		m := &Machine{Cores: cores(), Kernel: kernel(), Cgroup: info.Cgroup, Layers: info.Layers, Load: wanted}
		if all := after.total - before.total; all > 0 {
			m.Stolen = float64(after.steal-before.steal) / float64(all)
		}
		r.Machine = m
		if m.Stolen <= maxStolen || try == 3 {
			return r, nil
		}
		fmt.Fprintf(o.Log, "the host took %.1f %% of the CPU time; measuring again\n", m.Stolen*100)
	}
}
