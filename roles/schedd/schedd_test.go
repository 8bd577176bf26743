package schedd

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
)

func TestSpawnIsCheckedWhereItEnters(t *testing.T) {
	s := start(t, nil)
	s.cfg.Realms.(*tenants).all["id-q"] = api.Realm{ID: "id-q", Name: "q", Quota: api.Quota{Procs: 2}}
	b, _ := os.ReadFile(program(t))
	if _, err := s.programs.put("id-q", "testproc", b, 1); err != nil {
		t.Fatal(err)
	}
	quota := api.Caller{Realm: "id-q"}
	s.sleeping(t, quota, api.ProcDesc{})
	s.sleeping(t, quota, api.ProcDesc{})
	for name, tt := range map[string]struct {
		c    api.Caller
		d    api.ProcDesc
		kind api.Kind
	}{
		"no realm":            {api.Caller{Operator: true}, api.ProcDesc{Program: "/bin/testproc"}, api.Invalid},
		"unknown realm":       {api.Caller{Realm: "id-z"}, api.ProcDesc{Program: "/bin/testproc"}, api.NotFound},
		"unknown program":     {alice, api.ProcDesc{Program: "/bin/none"}, api.NotFound},
		"a path of the host":  {alice, api.ProcDesc{Program: "/etc/passwd"}, api.NotFound},
		"a digest of nobody":  {alice, api.ProcDesc{Program: "s1-" + strings.Repeat("0", 64)}, api.NotFound},
		"nothing":             {alice, api.ProcDesc{}, api.Invalid},
		"more than there is":  {alice, api.ProcDesc{Program: "/bin/testproc", Memory: machineMemory + 1<<20}, api.NoCapacity},
		"more CPU than there": {alice, api.ProcDesc{Program: "/bin/testproc", Class: api.LC, MCPU: machineCPU + 1}, api.NoCapacity},
		"over its quota":      {quota, api.ProcDesc{Program: "/bin/testproc"}, api.Busy},
	} {
		if id, err := s.Spawn(tt.c, &tt.d); api.KindOf(err) != tt.kind {
			t.Errorf("%s: %q %v, want kind %q", name, id, err, tt.kind)
		}
	}
	if n := s.Totals(); n.Spawned != 2 || n.Running != 2 {
		t.Errorf("what was refused is counted: %+v", n)
	}
}

// Figure 2 of the paper: Started, WaitStart, Exited, WaitExit, from beside.
func TestLifeOfAProc(t *testing.T) {
	s := start(t, nil)
	id := s.sleeping(t, alice, api.ProcDesc{Name: "life"})
	if !strings.HasPrefix(string(id), "life-") {
		t.Errorf("its id is %s", id)
	}
	list, err := s.procs(context.Background(), alice, api.ProcFilter{})
	if err != nil || len(list) != 1 || list[0].State != api.Running || list[0].User != "alice" {
		t.Errorf("%+v %v", list, err)
	}
	st := list[0].Stamps
	if st.Spawn == 0 || st.Placed < st.Spawn || st.Slot < st.Placed || st.Exec < st.Slot || st.Started < st.Exec {
		t.Errorf("its stamps are not in order: %+v", st)
	}
	if err := s.Kill(alice, wire.Target{ID: string(id), Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	if got := s.exit(t, alice, id); got.State != api.Killed || got.Message != "enough" {
		t.Errorf("%+v", got)
	}
	// A second Kill of it is no error, and changes nothing.
	if err := s.Kill(alice, wire.Target{ID: string(id)}); err != nil {
		t.Error(err)
	}
	if got := s.exit(t, alice, id); got.Message != "enough" {
		t.Errorf("%+v", got)
	}
	if n := s.Totals(); n.Spawned != 1 || n.Ended != 1 || n.Running != 0 || n.Ends[api.Killed] != 1 {
		t.Errorf("%+v", n)
	}
	if c := s.place.Capacity(); c.BEMemory != 0 {
		t.Errorf("%+v is still held", c)
	}
}

func TestKillAsksFirst(t *testing.T) {
	s := start(t, nil)
	id := s.spawn(t, alice, api.ProcDesc{Args: []string{"graceful"}})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := s.WaitStart(ctx, alice, string(id)); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(alice, wire.Target{ID: string(id), GraceMS: -1}); err != nil {
		t.Fatal(err)
	}
	if st := s.exit(t, alice, id); st.State != api.Exited || st.Code != 7 || string(st.Data) != "bye" {
		t.Errorf("one that heeds WaitKill: %+v", st)
	}
	id = s.sleeping(t, alice, api.ProcDesc{})
	s.Kill(alice, wire.Target{ID: string(id), GraceMS: 20})
	if st := s.exit(t, alice, id); st.State != api.Killed || !strings.Contains(st.Message, "alice") {
		t.Errorf("one that does not: %+v", st)
	}
	if err := s.Kill(alice, wire.Target{ID: string(id), GraceMS: 1 << 40}); api.KindOf(err) != api.Invalid {
		t.Errorf("a grace of 35 years: %v", err)
	}
	for name, err := range map[string]error{
		"exited":   s.Exited(alice, wire.Exit{}),
		"waitkill": func() error { _, err := s.WaitKill(ctx, alice); return err }(),
	} {
		if api.KindOf(err) != api.Denied {
			t.Errorf("%s by who is no proc: %v, want kind %q", name, err, api.Denied)
		}
	}
}

// What does not fit waits, is explained, can be killed where it is, and runs
// when there is room.
func TestQueueWaitsForRoom(t *testing.T) {
	s := start(t, nil)
	hog := s.sleeping(t, alice, api.ProcDesc{Memory: 400 << 20})
	waits := s.spawn(t, alice, api.ProcDesc{Memory: 200 << 20, Args: []string{"exit", "0"}})
	doomed := s.spawn(t, alice, api.ProcDesc{Memory: 200 << 20})
	w, err := s.why(context.Background(), alice, string(waits))
	if err != nil || w.Proc.State != api.Queued || len(w.Nodes) != 1 || !strings.Contains(w.Nodes[0], "memory") {
		t.Errorf("why: %+v %v", w, err)
	}
	if err := s.Kill(alice, wire.Target{ID: string(doomed), GraceMS: 5000}); err != nil {
		t.Fatal(err)
	}
	if st := s.exit(t, alice, doomed); st.State != api.Killed {
		t.Errorf("killed in the queue: %+v", st)
	}
	s.Kill(alice, wire.Target{ID: string(hog)})
	if st := s.exit(t, alice, waits); !st.OK() {
		t.Errorf("when there was room: %+v", st)
	}
}

// Memory that an LC proc reserves is taken from the newest best-effort procs,
// never from the oldest, and from no LC proc.
func TestPaper33_ReservedMemoryEvictsTheNewest(t *testing.T) {
	s := start(t, nil)
	old := s.sleeping(t, alice, api.ProcDesc{Memory: 150 << 20})
	reserved := s.sleeping(t, bob, api.ProcDesc{Class: api.LC, MCPU: 100, Memory: 150 << 20})
	young := s.sleeping(t, bob, api.ProcDesc{Memory: 150 << 20})
	lc := s.sleeping(t, alice, api.ProcDesc{Class: api.LC, MCPU: 100, Memory: 150 << 20})
	st := s.exit(t, bob, young)
	if st.State != api.Evicted || !strings.Contains(st.Message, lc.Short()) {
		t.Errorf("the newest: %+v", st)
	}
	for _, id := range []api.ProcID{old, lc} {
		if w, err := s.why(context.Background(), alice, string(id)); err != nil || w.Proc.State != api.Running {
			t.Errorf("%s: %+v %v", id, w.Proc.State, err)
		}
	}
	if w, err := s.why(context.Background(), bob, string(reserved)); err != nil || w.Proc.State != api.Running {
		t.Errorf("the reserved one: %v %v", w.Proc.State, err)
	}
	if c := s.place.Capacity(); c.LCMemory != 300<<20 || c.BEMemory != 150<<20 {
		t.Errorf("%+v", c)
	}
}

func TestCallsOfToolsAreForWhoMayMakeThem(t *testing.T) {
	s := start(t, nil)
	id := s.sleeping(t, alice, api.ProcDesc{})
	call := func(c api.Caller, method string, body any) error {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Call(context.Background(), c, wire.Call{Method: method, Body: b}, func(any, []byte) error { return nil })
		return err
	}
	for name, tt := range map[string]struct {
		err  error
		kind api.Kind
	}{
		"realms by a tenant":        {call(bob, api.MRealmList, nil), api.Denied},
		"a realm by a tenant":       {call(bob, api.MRealmCreate, api.Realm{Name: "x"}), api.Denied},
		"removal by a tenant":       {call(bob, api.MRealmRemove, api.Ref{Name: "a"}), api.Denied},
		"procs of all by a tenant":  {call(bob, api.MProcs, api.ProcFilter{Realms: true}), api.Denied},
		"why of another realm's":    {call(bob, api.MWhy, api.Ref{Name: string(id)}), api.NotFound},
		"dump of another realm's":   {call(bob, api.MDump, api.Ref{Name: string(id)}), api.NotFound},
		"output of another realm's": {call(bob, api.MLogs, api.LogQuery{Name: string(id)}), api.NotFound},
		"a method of nobody":        {call(alice, "x.y", nil), api.Unsupported},
		"without a realm":           {call(api.Caller{Operator: true}, api.MWhy, api.Ref{Name: string(id)}), api.Invalid},
		"another body":              {call(alice, api.MWhy, []int{1}), api.Invalid},
		"its own":                   {call(alice, api.MWhy, api.Ref{Name: string(id)}), ""},
		"an operator's":             {call(alice, api.MProcs, api.ProcFilter{Realms: true}), ""},
	} {
		if api.KindOf(tt.err) != tt.kind {
			t.Errorf("%s: %v, want kind %q", name, tt.err, tt.kind)
		}
	}
}

// dump shows each thread, and has a Go program print its goroutines.
func TestDumpOfAProcThatHangs(t *testing.T) {
	s := start(t, nil)
	id := s.sleeping(t, alice, api.ProcDesc{})
	d, err := s.dump(context.Background(), alice, string(id))
	if err != nil || !d.Go || !strings.Contains(d.Kernel, "thread") {
		t.Fatalf("%+v %v", d, err)
	}
	if st := s.exit(t, alice, id); st.State != api.Exited || st.Code != 2 { // how Go ends at SIGQUIT
		t.Errorf("%+v", st)
	}
	if tail, _ := s.cfg.Logs.Tail("id-a", string(id), 64<<10); !strings.Contains(string(tail), "\ngoroutine 1 ") {
		t.Errorf("its output ends with\n%s", tail)
	}
	if _, err := s.dump(context.Background(), alice, string(id)); api.KindOf(err) != api.NotFound {
		t.Errorf("of one that has ended: %v", err)
	}
}

// Close ends everything, and nothing is taken afterwards.
// A slot serves one proc after another; each has the time that it used itself.
func TestTopTellsAProcsOwnTime(t *testing.T) {
	s := start(t, nil)
	if st := s.exit(t, alice, s.spawn(t, alice, api.ProcDesc{Args: []string{"burn", "400"}})); !st.OK() {
		t.Fatal(st)
	}
	id := s.sleeping(t, alice, api.ProcDesc{})
	top, err := s.top(alice)
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Procs) != 1 || top.Procs[0].ID != id || len(top.Realms) != 1 {
		t.Fatalf("top: %+v", top)
	}
	p := top.Procs[0]
	if cpu := time.Duration(p.CPU); cpu <= 0 || cpu > 300*time.Millisecond {
		t.Errorf("a proc that sleeps, after one that used 400ms, has used %v", cpu)
	}
	if cpu := time.Duration(top.Realms[0].CPU); cpu < 400*time.Millisecond {
		t.Errorf("the realm has used %v", cpu)
	}
	if p.PID == 0 || p.RSS == 0 {
		t.Errorf("pid %d, memory %d", p.PID, p.RSS)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	s := start(t, nil)
	running := s.sleeping(t, alice, api.ProcDesc{Memory: 400 << 20})
	queued := s.spawn(t, bob, api.ProcDesc{Memory: 400 << 20})
	s.Close()
	for c, id := range map[*api.Caller]api.ProcID{&alice: running, &bob: queued} {
		if st := s.exit(t, *c, id); st.State != api.Killed || !strings.Contains(st.Message, "stopping") {
			t.Errorf("%s: %+v", id, st)
		}
	}
	if _, err := s.Spawn(alice, &api.ProcDesc{Program: "/bin/testproc"}); api.KindOf(err) != api.Unavailable {
		t.Errorf("a spawn afterwards: %v", err)
	}
}

// Records go after their time; who asks then gets the answer for no such proc.
func TestRecordsAreForgotten(t *testing.T) {
	s := start(t, func(c *Config) { c.KeepFor = 300 * time.Millisecond })
	id := s.spawn(t, alice, api.ProcDesc{Args: []string{"print", "1", "1"}})
	s.exit(t, alice, id)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := s.find(alice, "why", string(id))
		if api.KindOf(err) == api.NotFound {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the record stays")
		}
	}
	if tail, _ := s.cfg.Logs.Tail("id-a", string(id), 100); len(tail) != 0 {
		t.Errorf("its output stays: %q", tail)
	}
}

// A channel bounds how often its proc waits for its own end.
func TestPROBES_N13_WaitKillsOfAProcAreBounded(t *testing.T) {
	s := bare()
	h := procHandler{s, s.enterRecord("r", "p-1")}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range maxWaitKills {
		wg.Go(func() { h.WaitKill(ctx, api.Caller{}) })
	}
	for {
		s.mu.Lock()
		n := h.p.waitKills
		s.mu.Unlock()
		if n == maxWaitKills {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := h.WaitKill(ctx, api.Caller{}); api.KindOf(err) != api.Busy {
		t.Errorf("one more: %v, want kind %q", err, api.Busy)
	}
	cancel()
	wg.Wait()
	if err := h.Exited(api.Caller{}, wire.Exit{}); err != nil {
		t.Error(err)
	}
	if err := h.Exited(api.Caller{}, wire.Exit{}); api.KindOf(err) != api.Exists {
		t.Errorf("a second Exited: %v", err)
	}
}
