package place

import (
	"sigmaos/api"
	"sigmaos/sched/be"
	"sigmaos/sched/lc"
	"sigmaos/sched/pull"
)

// Order is a proc that wants to run. Nothing in it changes once it was submitted.
type Order struct {
	ID      api.ProcID
	Realm   string // id
	User    string
	Parent  api.ProcID    // that spawned it; "" is a program outside
	Desc    *api.ProcDesc // normalized
	Program api.Program   // pinned
	Came    int64         // at home, in hundredths of a second; procs that came together may change places

	encoded string // as it came from another node; "" at its home
}

// home is the node that took the Spawn.
func (o *Order) home() uint16 {
	n, _, _ := o.ID.Home()
	return n
}

func (o *Order) lc() bool { return o.Desc.Class == api.LC }

// item is o in a queue; near are the nodes on which it had better run.
func (o *Order) item(near be.Nodes) be.Item {
	size := len(o.Program.Name) + 400
	for _, list := range [][]string{o.Desc.Args, o.Desc.Env, o.Desc.Near} {
		for _, s := range list {
			size += len(s) + 16
		}
	}
	return be.Item{
		ID: string(o.ID), Realm: o.Realm, Memory: o.Desc.Memory, Digest: o.Program.Digest,
		Came: o.Came, Near: near, Bytes: int64(size), Payload: o,
	}
}

func (o *Order) request() lc.Request {
	return lc.Request{
		ID: string(o.ID), Realm: o.Realm, MCPU: o.Desc.MCPU, Memory: o.Desc.Memory,
		Domain: o.Desc.Domain, Group: o.Desc.Group, Apart: o.Desc.Apart, Payload: o,
	}
}

func (o *Order) held() lc.Held {
	return lc.Held{
		ID: string(o.ID), Realm: o.Realm, MCPU: o.Desc.MCPU, Memory: o.Desc.Memory,
		Group: o.Desc.Group, Apart: o.Desc.Apart,
	}
}

// Result is a proc's end as its runner saw it.
type Result struct {
	Status api.Status
	Stamps api.Stamps // but for Spawn
	CPU    int64      // ns
	RSS    int64      // bytes, the peak
	Denied map[int]int
}

// What nodes say to each other. Messages do not change once they were sent.
type (
	// submit, of a home to a shard or lcsched.
	submit struct{ o *Order }
	// notHere is its answer by a node that is neither: it has not taken the order
	// and never will.
	notHere struct{ id api.ProcID }
	// refuse is its answer by one that is, for good.
	refuse struct {
		id  api.ProcID
		err *api.Error
	}
	// moved tells a home that who had the order gave it to a node, or has it back.
	moved struct {
		id api.ProcID
		to uint16
	}
	// lost tells a home that an order may be nowhere.
	lost struct {
		id  api.ProcID
		why string
	}
	// drop, of a home, to whoever may have a proc: it is not to run.
	drop struct {
		id  api.ProcID
		why string
	}
	// kill, of a home to the runner.
	kill struct {
		id     api.ProcID
		as     api.State
		reason string
		grace  int64 // ns; 0 is at once
	}

	// Of runners and shards.
	ask   struct{ a pull.Ask }
	hint  struct{ h pull.Hint }
	grant struct {
		id     uint64 // of the ask
		h      pull.Hint
		orders []*Order
	}
	back struct{ o *Order }

	// Of a runner to a home.
	taken struct{ id api.ProcID }
	began struct {
		id     api.ProcID
		stamps api.Stamps
	}
	wrote struct {
		id     api.ProcID
		stream int
		data   []byte
	}
	ended struct {
		id api.ProcID
		r  Result
	}
	// kept answers wrote: so many bytes are in the log.
	kept struct {
		id api.ProcID
		n  int
	}

	// Of lcsched to a runner.
	hello  struct{ h lc.Hello }
	decide struct {
		o          *Order
		epoch, seq uint64
	}
	// Of a runner to lcsched.
	newer   struct{ epoch uint64 }
	report  struct{ r lc.Report }
	release struct {
		from lc.From
		id   api.ProcID
	}
	refused struct {
		from lc.From
		id   api.ProcID
	}
)
