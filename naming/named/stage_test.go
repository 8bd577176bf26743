package named

import (
	"fmt"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// newStaged is a stage on an empty realm.
func newStaged(l Limits) *stage {
	st := newState()
	root := newRoot(0)
	st.version = 1
	st.nodes[rootID] = &node{inode: root}
	limits := l.withDefaults()
	return newStage(st, &limits, 0)
}

func asReq(user string) *req {
	return &req{c: &api.Caller{User: user, Operator: user == ""}, op: "test", path: "/"}
}

func (s *stage) mustCreate(t *testing.T, r *req, dir uint64, name string, n tree.NewFile) uint64 {
	t.Helper()
	in, err := s.create(r, dir, name, &n)
	if err != nil {
		t.Fatalf("create(%q): %v", name, err)
	}
	return in.ID
}

// Changes of one batch see each other before anybody else sees them.
func TestChangesOfABatchSeeEachOther(t *testing.T) {
	s, r := newStaged(Limits{}), asReq("alice")
	file, dir := tree.NewFile{Mode: tree.ModeFile | 0o644, Exclusive: true}, tree.NewFile{Mode: tree.ModeDir | 0o755, Exclusive: true}
	d := s.mustCreate(t, r, rootID, "d", dir)
	f := s.mustCreate(t, r, d, "f", file)
	wantKind(t, second(s.create(r, d, "f", &file)), "create what the batch has made", api.Exists)
	wantKind(t, s.remove(r, rootID, "d", true), "remove of a directory that the batch has filled", api.NotEmpty)
	wantKind(t, s.rename(r, rootID, "d", d, "x"), "rename of it below itself", api.Invalid)
	if err := s.rename(r, d, "f", rootID, "g"); err != nil {
		t.Fatal(err)
	}
	if err := s.remove(r, rootID, "d", true); err != nil {
		t.Fatalf("remove of what the batch has emptied: %v", err)
	}
	wantKind(t, second(s.create(r, d, "x", &file)), "create in what the batch has removed", api.NotFound)
	if s.child(rootID, "d") != nil || s.child(rootID, "g") == nil || s.child(rootID, "g").ID != f || s.len(rootID) != 1 {
		t.Errorf("the batch leaves %d entries, g is %+v", s.len(rootID), s.child(rootID, "g"))
	}
	if len(s.st.nodes) != 1 || s.st.nodes[rootID].len() != 0 || s.st.version != 1 {
		t.Error("the state has changed before the batch was published")
	}
	for i, e := range s.events {
		if e.version != uint64(2+i) {
			t.Errorf("event %d has version %d", i, e.version)
		}
	}
	s.publish(0)
	if st := s.st; len(st.nodes) != 2 || st.files != 1 || st.bytes != 1 || st.nodes[rootID].kid("g").ID != f || st.nodes[rootID].subdirs != 0 || st.version != uint64(1+len(s.events)) {
		t.Errorf("published are %d nodes, %d files, %d bytes, version %d", len(st.nodes), st.files, st.bytes, st.version)
	}
}

// A lease that ends takes the files along that join it in the same batch.
func TestALeaseEndsInTheBatchOfItsFiles(t *testing.T) {
	s, r := newStaged(Limits{}), asReq("alice")
	if err := s.grant(r, "l1", 0); err != nil {
		t.Fatal(err)
	}
	s.publish(0)
	s = newStage(s.st, s.limits, 0)
	for i := range revokeStep + 5 {
		s.mustCreate(t, r, rootID, fmt.Sprint("f", i), tree.NewFile{Mode: tree.ModeFile, Lease: "l1"})
	}
	if !s.revoke("l1") {
		t.Fatal("one step has removed more files than it may")
	}
	if s.revoke("l1") {
		t.Fatal("two steps were not enough")
	}
	if s.len(rootID) != 0 {
		t.Errorf("%d files are left of a lease that has ended", s.len(rootID))
	}
	wantKind(t, second(s.create(r, rootID, "late", &tree.NewFile{Mode: tree.ModeFile, Lease: "l1"})), "create with a lease that ended in the batch", api.NotFound)
	s.publish(0)
	if st := s.st; len(st.nodes) != 1 || len(st.leases) != 0 || st.files != 0 || st.bytes != 0 {
		t.Errorf("published are %d nodes, %d leases, %d files, %d bytes", len(st.nodes), len(st.leases), st.files, st.bytes)
	}
}

// No change that a batch takes makes it larger than one transaction of etcd may
// be, whatever the names.
func TestAFullBatchFitsATransaction(t *testing.T) {
	s, r := newStaged(Limits{}), asReq("alice")
	long := func(i int) string { return fmt.Sprintf("%0255d", i) }
	n := 0
	for ; s.keys()+opKeys <= maxKeys && n < maxBatch; n++ {
		p := tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, NoReplay: fmt.Sprintf("%064d", n)}
		if _, err := s.put(r, rootID, long(n), &p); err != nil {
			t.Fatal(err)
		}
	}
	ops, tail := s.ops(realmKeys("r"), 1)
	size := 0
	for _, o := range ops {
		size += len(o.KeyBytes()) + len(o.ValueBytes())
	}
	log := logRecord{events: s.events, replays: tail}
	if n < 10 || len(ops)+1 > maxTxnOps || size+len(log.encode()) > s.size+maxTxnOps*512 {
		t.Errorf("%d changes are %d operations of %d bytes, reckoned as %d", n, len(ops)+1, size+len(log.encode()), s.size)
	}
	seen := make(map[string]bool)
	for _, o := range ops {
		if k := string(o.KeyBytes()); seen[k] {
			t.Errorf("key %s is written twice", k)
		} else {
			seen[k] = true
		}
	}
}
