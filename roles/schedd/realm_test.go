package schedd

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
)

// bare is a schedd that holds records and can start nothing.
func bare() *Schedd {
	return &Schedd{cfg: Config{KeepFor: time.Minute}, realms: make(map[string]*realm)}
}

func (s *Schedd) enterRecord(realmID string, id api.ProcID) *proc {
	r := s.realms[realmID]
	if r == nil {
		r = newRealm(api.Realm{ID: realmID, Name: "name-" + realmID})
		s.realms[realmID] = r
	}
	p := &proc{id: id, realm: r, desc: &api.ProcDesc{}, state: api.Running}
	r.procs[id] = p
	return p
}

func TestFindByPrefix(t *testing.T) {
	s := bare()
	for _, id := range []api.ProcID{"map-aaaa1", "map-aaab1", "reduce-x"} {
		s.enterRecord("r1", id)
	}
	s.enterRecord("r2", "secret-1")
	for name, tt := range map[string]struct {
		want api.ProcID
		kind api.Kind
	}{
		"map-aaaa1": {"map-aaaa1", ""}, "map-aaaa": {"map-aaaa1", ""}, "r": {"reduce-x", ""}, "reduce-x": {"reduce-x", ""},
		"map-": {"", api.Invalid}, "": {"", api.NotFound}, "nobody": {"", api.NotFound}, "map-aaaa12": {"", api.NotFound},
		"secret-1": {"", api.NotFound}, "s": {"", api.NotFound},
	} {
		p, err := s.find(api.Caller{Realm: "r1"}, "why", name)
		if api.KindOf(err) != tt.kind || err == nil && p.id != tt.want {
			t.Errorf("%q: %v %v, want %q %q", name, p, err, tt.want, tt.kind)
		}
	}
	if _, err := s.find(api.Caller{Realm: "r1"}, "why", "map-"); !strings.Contains(err.Error(), "map-aaaa1") || !strings.Contains(err.Error(), "map-aaab1") {
		t.Errorf("an ambiguous prefix does not name two: %v", err)
	}
	if _, err := s.find(api.Caller{Realm: "nowhere"}, "why", "map-aaaa1"); api.KindOf(err) != api.NotFound {
		t.Errorf("a realm without procs: %v", err)
	}
}

// A disk that refused a realm's directory once is asked again: what comes from
// elsewhere for the realm is kept as soon as it can be.
func TestARealmIsKeptOnDiskOnceThatIsPossible(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "programs")
	store, err := binfs.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	s := bare()
	s.log = slog.New(slog.DiscardHandler)
	s.cfg.Store, s.cfg.Realms = store, &tenants{all: map[string]api.Realm{"r1": {ID: "r1", Name: "one"}}}
	come := func() {
		t.Helper()
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := s.realmLocked("r1"); err != nil {
			t.Fatal(err)
		}
	}
	come()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(admitAgain / 4) {
		come()
		if _, err := os.Stat(filepath.Join(dir, "r1")); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it is not tried again")
		}
	}
}

// PROBES N30: to another realm, what is there and what is not are one text.
func TestPROBES_N30_AbsentAndForeignAreOneAnswer(t *testing.T) {
	s := bare()
	s.enterRecord("r2", "secret-1")
	s.enterRecord("r1", "mine-1")
	_, theirs := s.find(api.Caller{Realm: "r1"}, "kill", "secret-1")
	_, none := s.find(api.Caller{Realm: "r1"}, "kill", "secret-2")
	if strings.ReplaceAll(theirs.Error(), "secret-1", "X") != strings.ReplaceAll(none.Error(), "secret-2", "X") {
		t.Errorf("%q and %q", theirs, none)
	}
}

func TestShortestUniquePrefixes(t *testing.T) {
	s := bare()
	ids := []api.ProcID{
		api.ProcID("a-" + strings.Repeat("a", 26)), api.ProcID("a-" + strings.Repeat("a", 20) + strings.Repeat("b", 6)), api.ProcID("a-" + strings.Repeat("c", 26)),
	}
	for _, id := range ids {
		s.enterRecord("r1", id)
	}
	r := s.realms["r1"]
	var list []api.ProcInfo
	for _, id := range ids {
		list = append(list, r.procs[id].info("n"))
	}
	shorten(list, r)
	for i, want := range []string{"a-" + strings.Repeat("a", 21), "a-" + strings.Repeat("a", 20) + "b", "a-cccc"} {
		if list[i].Short != want {
			t.Errorf("%s is shown as %q, want %q", list[i].ID, list[i].Short, want)
		}
		if p, err := s.find(api.Caller{Realm: "r1"}, "x", list[i].Short); err != nil || p.id != list[i].ID {
			t.Errorf("%q finds %v %v", list[i].Short, p, err)
		}
	}
}

func TestRecordsExpireByCountAndByAge(t *testing.T) {
	now := time.Now()
	fill := func() *realm {
		r := newRealm(api.Realm{ID: "r"})
		for i := range 10 { // ended one a minute, the last one now
			p := &proc{id: api.ProcID(fmt.Sprintf("p-%d", i)), realm: r, created: now.Add(time.Duration(i-9)*time.Minute - time.Second)}
			p.stamps = api.Stamps{Spawn: 1, Ended: 1 + int64(time.Second)}
			r.procs[p.id] = p
			r.ended = append(r.ended, p)
		}
		r.procs["alive"] = &proc{id: "alive"}
		return r
	}
	for name, tt := range map[string]struct {
		count  int
		before time.Time
		left   int
	}{
		"neither":  {100, time.Time{}, 10},
		"by count": {4, time.Time{}, 4},
		"by age":   {100, now.Add(-150 * time.Second), 3},
		"both":     {2, now.Add(-150 * time.Second), 2},
		"all":      {0, time.Time{}, 0},
	} {
		r := fill()
		gone := r.expireLocked(tt.count, tt.before)
		if len(r.ended) != tt.left || len(gone) != 10-tt.left || len(r.procs) != tt.left+1 {
			t.Errorf("%s: %d records, %d forgotten, %d in the table; want %d left", name, len(r.ended), len(gone), len(r.procs), tt.left)
		}
		for i, p := range gone {
			if p.id != api.ProcID(fmt.Sprintf("p-%d", i)) {
				t.Errorf("%s: forgot %s before older ones", name, p.id)
			}
		}
	}
}

// PROBES N13: waits are bounded by realm.
func TestPROBES_N13_WaitsOfARealmAreBounded(t *testing.T) {
	r := newRealm(api.Realm{ID: "r"})
	for range maxWaits {
		if err := r.enter("waitexit", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.enter("waitexit", "x"); api.KindOf(err) != api.Busy {
		t.Errorf("one more: %v, want kind %q", err, api.Busy)
	}
	r.leave()
	if err := r.enter("waitexit", "x"); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}
