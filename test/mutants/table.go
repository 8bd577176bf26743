package mutants

// noFile is for tests that keep what made them fail: here that is no news.
const noFile = "-rapid.nofailfile"

// Table is what FAULTS.md's testers of the tester are in this system, and its
// neighbours. docs/FAULTS.md says which is which.
var Table = []Mutant{
	// Names.
	{Name: "reads without a lease", File: "naming/named/term.go", Old: "if !t.sess.valid() {", New: "if false {",
		Test: "TestFAULTS_F10_NoAnswerAfterTheLease", In: "naming/named"},
	{Name: "the lease counts from the answer", File: "naming/named/session.go", Old: "s.extend(sent, resp.TTL)\n\t\t\tpause", New: "_ = sent\n\t\t\ts.extend(s.now(), resp.TTL)\n\t\t\tpause",
		Test: "TestLeaseCountsFromBeforeTheKeepalive", In: "naming/named"},
	{Name: "acknowledged before it is kept", File: "naming/named/commit.go", Old: "if t.cfg.hooks.ackEarly {", New: "if true {",
		Test: "TestUnknownOutcomeEndsTheTerm", In: "naming/named"},
	{Name: "election without a fence", File: "naming/named/txn.go", Old: "if t.cfg.hooks.noFence && t.seq > 1 {", New: "if t.seq > 1 {",
		Test: "TestFAULTS_F10_OldEpochIsFenced", In: "naming/named"},
	{Name: "writes that were done are forgotten with their leader", File: "naming/named/load.go", Old: "l.st.replays[p.key], l.st.replayKeys[p.seq] = p, p.key", New: "l.st.replayKeys[p.seq] = p.key",
		Test: "TestFAULTS_F9_WhatALeaderChangeKeeps", In: "naming/named"},
	{Name: "a watch resumes one too late", File: "naming/named/events.go", Old: "i := version - g.base\n", New: "i := version - g.base + 1\n",
		Test: "TestFAULTS_F9_WhatALeaderChangeKeeps", In: "naming/named"},
	{Name: "a slow watcher is kept", File: "naming/named/watch.go", Old: "w.cursor < t.ring.base || w.pending.Load() > int64(t.limits.Pending)", New: "w.cursor < t.ring.base",
		Test: "TestFAULTS_F36_ASlowWatcherIsCutOff", In: "naming/named"},
	{Name: "a term of long ago writes to scratch", File: "naming/ux/fences.go", Old: "case t.epoch == f.fence.Epoch:", New: "case t.epoch >= f.fence.Epoch:",
		Test: "TestFAULTS_F10_FencesArePersisted", In: "naming/ux"},
	{Name: "fences are not on the disk", File: "naming/ux/fences.go", Old: "err = r.replaceFences(b)", New: "_ = b",
		Test: "TestFAULTS_F10_FencesArePersisted", In: "naming/ux"},
	{Name: "a program is remembered though its file has changed", File: "roles/programpath.go", Old: "publishedKey{realm, path, a.ID, a.Version, a.Size, a.Modified.UnixNano()}", New: "publishedKey{realm: realm, path: path}",
		Test: "TestPaper33_ProgramByItsPath", In: "test", Nodes: true},

	// Placement.
	{Name: "a new lcsched forgets what nodes hold", File: "sched/lc/report.go", Old: "for i := range r.Held {\n\t\tt.confirm", New: "for i := range r.Held[:0] {\n\t\tt.confirm",
		Test: "TestFAULTS_F8_RebuiltBeforeTheFirstPlacement", In: "sched/lc"},
	{Name: "an lcsched that was replaced is obeyed", File: "sched/lc/epoch.go", Old: "if epoch != f.epoch || epoch == 0 ||", New: "if epoch == 0 ||",
		Test: "TestFence", In: "sched/lc"},
	{Name: "more CPU is reserved than there is", File: "sched/node/table.go", Old: "case mcpu > t.mcpu-t.lcCPU:", New: "case mcpu > t.mcpu-t.lcCPU+1000:",
		Test: "TestTableAgainstSums", In: "sched/node", Flag: noFile},
	{Name: "best effort is given reserved memory", File: "sched/node/table.go", Old: "return max(0, t.mem-t.lcMem-t.beMem)", New: "return max(0, t.mem-t.beMem)",
		Test: "TestTableAgainstSums", In: "sched/node", Flag: noFile},
	{Name: "a reservation outlives its proc", File: "sched/node/table.go", Old: "t.lcCPU -= p.MCPU\n", New: "\n",
		Test: "TestTableAgainstSums", In: "sched/node", Flag: noFile},
	{Name: "a doubled message is heeded", File: "net/talk/peer.go", Old: "if number < next {\n\t\t\tcontinue", New: "if false {\n\t\t\tcontinue",
		Test: "TestFAULTS_F29_LostDoubledReordered", In: "net/talk"},
	{Name: "what a silent node had is started again", File: "roles/place/home.go", Old: "e.lose(x, peer, fmt.Sprintf(\"node %s, which had it, fell silent\", e.view.name(peer)))", New: "x.taken = false\n\t\t\te.tryAgain(x)\n\t\t\t_ = fmt.Sprint()",
		Test: "TestFAULTS_F29_NoProcStartsTwice", In: "roles/place"},
	{Name: "what was given up is not ended", File: "roles/place/home.go", Old: "e.send(from, drop{id, \"its home has given it up\"})\n\t\treturn", New: "return",
		Test: "TestAStrangerIsDropped", In: "roles/place"},

	// Connections.
	{Name: "endpoints of other realms can be dialled", File: "net/dialproxy/endpoint.go", Old: "e != nil && e.owner.Realm == realm", New: "e != nil",
		Test: "TestPROBES_N1_N2_EveryWrongTokenGivesOneError", In: "net/dialproxy"},
	{Name: "a setup message can be sent twice", File: "net/dialproxy/keys.go", Old: "if k.seen[i]&bit != 0 {", New: "if false {",
		Test: "TestPROBES_N11_ReplayAndForgeryAreRefused", In: "net/dialproxy"},
	{Name: "private networks are outside", File: "net/dialproxy/external.go", Old: "if within(a, private) && !within(a, x.Allowed) {", New: "if false {",
		Test: "TestPROBES_N5_OutsideIsOutsideInEveryDisguise", In: "net/dialproxy"},

	// Procs.
	{Name: "programs are not verified", File: "runtime/binfs/digest.go", Old: "!bytes.Equal(h[:], t.Chunks[i][:])", New: "len(h) == 0 && !bytes.Equal(h[:], t.Chunks[i][:])",
		Test: "TestFAULTS_F20_BadSourceIsSkipped", In: "runtime/binfs"},
	{Name: "procs can connect", File: "runtime/seccomp/calls.go", Old: "{Name: \"readv\", Reason:", New: "{Name: \"connect\", Reason:",
		Test: "TestPROBES_S1_S4_NoCallThatMakesOrNamesSockets", In: "runtime/seccomp"},
	{Name: "threads are not bound", File: "runtime/cgroup/limits.go", Old: "write(dir, \"pids.max\", limit(int64(n), \"max\"))", New: "write(dir, \"pids.max\", \"max\")",
		Test: "TestFAULTS_F25_NodeAndRealmsAreBoundInThreads", In: "runtime/cgroup"},

	// Jobs.
	{Name: "a second result replaces the first", File: "sigma/tasks/tasks.go", Old: "if k.State == Done || k.State == Failed {\n\t\treturn k.State == Done &&", New: "if k.State == Failed {\n\t\treturn k.State == Done &&",
		Test: "TestTheFirstResultStays", In: "sigma/tasks"},
	{Name: "a result is told before it is kept", File: "sigma/tasks/tasks.go", Old: "if err := q.write(ctx, k, t); err != nil {\n\t\treturn false, err\n\t}\n\treturn true, nil\n}\n\n// Failed", New: "k.Task = t\n\treturn true, nil\n}\n\n// Failed",
		Test: "TestFAULTS_F32_CrashAtEachStep", In: "sigma/tasks"},
}
