package schedd

import (
	"log/slog"
	"reflect"
	"testing"

	"sigmaos/api"
	"sigmaos/net/talk"
	"sigmaos/roles/place"
	"sigmaos/sched/node"
)

func TestARecordTellsWhatRan(t *testing.T) {
	for _, args := range [][]string{nil, {""}, {"a"}, {"a", "", "b c", ""}} {
		for _, near := range [][]string{nil, {"n1"}, {"n1", "n2"}} {
			d := &api.ProcDesc{Program: "/bin/x", Args: args, Class: api.LC, MCPU: 5, Memory: 6, Near: near}
			p := proc{desc: &api.ProcDesc{Program: d.Program, Args: args, Env: []string{"K=v"}, Class: d.Class, MCPU: 5, Memory: 6, FDs: 7, Near: near}}
			p.becomeRecordLocked()
			if got := p.descLocked(); !reflect.DeepEqual(got, d) {
				t.Errorf("%+v came back as %+v", d, got)
			}
		}
	}
}

// An order that comes when its home, which is this node, has given the proc up: there
// is nothing left to start it with, and nobody who waits for it.
func TestWhatItsHomeGaveUpIsNotStarted(t *testing.T) {
	d := &api.ProcDesc{Program: "/bin/x", Memory: 1 << 20}
	o := &place.Order{ID: api.NewProcID("p", 1, 1), Realm: "r", Desc: d}
	s := &Schedd{cfg: Config{NodeNum: 1}, realms: make(map[string]*realm), live: make(map[api.ProcID]*proc)} // no pool
	r := newRealm(api.Realm{ID: "r", Name: "r"})
	s.realms["r"] = r
	s.place = place.New(place.Config{Self: talk.Peer{Number: 1, Boot: 1}, Host: host{s}, Table: node.New(1000, 1<<30), Logger: slog.New(slog.DiscardHandler)})
	defer s.place.Close()
	p := &proc{id: o.ID, desc: d, realm: r, state: api.Lost}
	p.stamps.Ended = 5
	p.becomeRecordLocked()
	r.procs[p.id] = p
	before := *p
	host{s}.Start(o, nil)
	if !reflect.DeepEqual(*p, before) {
		t.Errorf("the record was %+v and is %+v", before, *p)
	}
}
