package schedd

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/net/control"
	"sigmaos/roles/place"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/logs"
	"sigmaos/runtime/slot"
)

// Realms is the table of tenants.
type Realms interface {
	Get(name string) (api.Realm, error)
	ByID(id string) (api.Realm, error)
	List() []api.Realm
	Create(ctx context.Context, r api.Realm) (api.Realm, error)
	Remove(ctx context.Context, name string) error
}

// Slots is where procs run: a *slot.Pool, which says what each method does.
type Slots interface {
	Get(realm string, class cgroup.Class, fds int64, fn func(*slot.Slot, error))
	Put(*slot.Slot)
	Count(realm string) int
	RemoveRealm(realm string)
}

// Config is what a schedd stands on; the owner of each part closes it after
// the schedd.
type Config struct {
	Info    api.ClusterInfo
	NodeNum uint16 // of this node in proc ids
	Boot    uint32 // of this boot
	Pool    Slots
	Cgroups *cgroup.Tree
	Logs    *logs.Store
	Store   *binfs.Store
	Realms  Realms
	// Place is how procs get to nodes; its Host is the schedd.
	Place place.Config
	// Others are the other nodes; nil: there are none.
	Others Others
	// Shares are this node's parts of the realms' quotas; nil: there are no others, and
	// it has all.
	Shares Shares
	// Sizes are those of the nodes that run procs, the largest known of each; nil is
	// this one's.
	Sizes   func() []Size
	Logger  *slog.Logger
	Observe Observer // may be nil
	// Event is told what happens in a realm, for the event log; it must not wait.
	// nil is nobody.
	Event func(realm string, e api.Event)
	// ListEndpoints lists a realm's endpoints on all nodes.
	ListEndpoints func(ctx context.Context, realm string) ([]api.EndpointInfo, error)
	// DropNames removes a realm's name space and this node's scratch of it.
	DropNames func(ctx context.Context, realm string) error
	// FindProgram asks other nodes for a program that this one does not know.
	FindProgram func(realm, path string) (api.Program, bool)
	// PathProgram takes a program from a path of the realm's name space, as c may
	// read it.
	PathProgram func(c api.Caller, path string) (api.Program, error)
	// ColdStart tells how a program came to this node; nil where that is not known.
	ColdStart func(realm, digest string) *binfs.Cold
	// ColdStarts does so for all of a realm, by digest.
	ColdStarts func(realm string) map[string]binfs.Cold
	// Favour says which node is likely to have a program; nil: nobody wants to know.
	Favour func(realm, digest, node string)
	// Methods are those of other roles, by name.
	Methods map[string]Method
	// Endpoints serves the procs' connections; Ended of a proc closes its own.
	Endpoints Endpoints

	KeepFor   time.Duration // an exit record; default 10 min
	KeepCount int           // exit records of a realm; default 100,000
}

// Size is what a node has to give to procs.
type Size struct {
	Node         string
	MCPU, Memory int64
}

// Method is a call of the tools that another role serves.
type Method struct {
	Operator bool
	Realm    bool
	Run      func(ctx context.Context, c api.Caller, body json.RawMessage) (any, error)
	// Stream is instead of Run for what takes or gives Data.
	Stream func(ctx context.Context, c api.Caller, call wire.Call, send func(any, []byte) error) (any, error)
}

// Endpoints connects procs, and forgets what an ended one listened on.
type Endpoints interface {
	control.Endpoints
	ProcEnded(id api.ProcID)
	RemoveRealm(id string)
	List(realm string) []api.EndpointInfo
}

// Observer hears of starts and ends, for metrics.
type Observer interface {
	Ended(p api.ProcInfo)
}
