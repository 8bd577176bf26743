package trial

import (
	"context"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/roles/place"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/slot"
)

// book is the directory of members, which stay.
type book map[uint16]member

func (b book) Resolve(n uint16) (name, addr string, ok bool) {
	m, ok := b[n]
	return m.Name, m.Addr, ok
}

func (book) OnLeft(func(uint16)) (stop func()) { return func() {} }

// The one realm, and who spawns there.
const realm = "trial"

var caller = api.Caller{Node: names[0], Realm: realm, User: "trial"}

// oneRealm is the table of tenants.
type oneRealm struct{}

func (oneRealm) List() []api.Realm { return []api.Realm{{ID: realm, Name: realm}} }

func (oneRealm) Get(name string) (api.Realm, error) { return oneRealm{}.ByID(name) }

func (r oneRealm) ByID(id string) (api.Realm, error) {
	if id != realm {
		return api.Realm{}, api.E(api.NotFound, "realm", id, "there is one, %s", realm)
	}
	return r.List()[0], nil
}

func (oneRealm) Create(_ context.Context, r api.Realm) (api.Realm, error) {
	return r, api.E(api.Unsupported, "realm", r.Name, "there is one, and it stays")
}

func (oneRealm) Remove(_ context.Context, name string) error {
	return api.E(api.Unsupported, "realm", name, "there is one, and it stays")
}

// doorstep is where procs would get their σcontainers.
type doorstep struct{ came atomic.Int64 }

// errDoorstep is why a proc ends that has come so far, and accepted its message.
var errDoorstep = api.E(api.Unsupported, "", "", "%s", doorstepText)

const (
	doorstepText = "this node counts procs and runs none"
	accepted     = "no σcontainer: " + doorstepText
)

func (d *doorstep) Get(_ string, _ cgroup.Class, _ int64, fn func(*slot.Slot, error)) {
	d.came.Add(1)
	fn(nil, errDoorstep)
}

func (d *doorstep) count() int64       { return d.came.Load() }
func (d *doorstep) Put(*slot.Slot)     {}
func (d *doorstep) Count(string) int   { return 0 }
func (d *doorstep) RemoveRealm(string) {}

// nobody is the host of a node that takes no procs and is home to none.
type nobody struct{}

func (nobody) Start(*place.Order, []api.ProcID)                 {}
func (nobody) End(api.ProcID, api.State, string, time.Duration) {}
func (nobody) Kept(api.ProcID, int)                             {}
func (nobody) Placed(api.ProcID, uint16)                        {}
func (nobody) Running(api.ProcID, api.Stamps)                   {}
func (nobody) Output(api.ProcID, int, []byte)                   {}
func (nobody) Finished(api.ProcID, place.Result)                {}
