package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/roles/doctor/attack"
	"sigmaos/sigma/admin"
)

// hostile is the node on which the rows of PROBES.md are tried, with what the
// probes must not reach: a file of the host that only the jail protects, and
// victims, one in the probe's own realm and one in another.
type hostile struct {
	*Node
	c, other *admin.Client
	flag     string
	before   os.FileInfo
	victims  []api.ProcInfo
	sleeper  string
	suite    *attack.Suite // the rows that `doctor --attack` has, with canaries of their own
}

var shared struct {
	once sync.Once
	h    *hostile
	err  error
}

const flagText = "the flag\n"

// onHostile returns the shared node for t; at t's end the canaries must be as
// they were.
func onHostile(t *testing.T) *hostile {
	t.Helper()
	needRoot(t)
	Proc(t, "probe")
	shared.once.Do(func() {
		defer func() {
			if r := recover(); r != nil {
				shared.err = fmt.Errorf("%v", r)
			}
		}()
		shared.h = startHostile()
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	h := *shared.h
	h.Node = h.Node.For(t)
	t.Cleanup(func() { h.intact(t) })
	return &h
}

// late reports for the shared node, which belongs to no test.
type late struct{ failed *bool }

func (late) Helper()                    {}
func (late) Logf(f string, args ...any) { fmt.Fprintf(os.Stderr, f+"\n", args...) }
func (l late) Errorf(f string, args ...any) {
	*l.failed = true
	fmt.Fprintf(os.Stderr, "the shared node: "+f+"\n", args...)
}
func (l late) Fatalf(f string, args ...any) { panic(fmt.Sprintf("the shared node: "+f, args...)) }

func startHostile() *hostile {
	dir, err := os.MkdirTemp("", "sigma-hostile")
	if err != nil {
		panic(err)
	}
	h := &hostile{Node: newNode(late{new(bool)}, dir)}
	h.Start()
	h.c = h.Client("default")
	h.flag = filepath.Join(dir, "flag")
	// Every uid may write it: nothing but the isolation stands before it.
	if err := os.WriteFile(h.flag, []byte(flagText), 0o666); err != nil {
		panic(err)
	}
	os.Chmod(dir, 0o777)
	os.Chmod(h.flag, 0o666)
	h.before, _ = os.Stat(h.flag)
	if _, err := h.c.CreateRealm(context.Background(), api.Realm{Name: "other"}); err != nil {
		panic(err)
	}
	h.other = h.Client("other")
	h.sleeper = h.Upload("testproc")
	h.UploadTo("other", "testproc")
	h.Upload("probe")
	h.UploadTo("other", "probe")
	for _, c := range []*admin.Client{h.c, h.other} {
		id := h.Running(c, sleeper(h.sleeper))
		h.victims = append(h.victims, h.info(c, id))
	}
	if h.suite, err = attack.New(context.Background(), h.c, attack.Options{}); err != nil {
		panic(err)
	}
	return h
}

// holds runs a row of the suite.
func (h *hostile) holds(row string) {
	h.t.Helper()
	got := h.suite.Try(context.Background(), row)
	if got.State == api.AttackNotTried {
		h.t.(*testing.T).Skip("the row means nothing on this architecture")
	}
	for _, f := range got.Findings {
		h.t.Errorf("%s: %s", row, f)
	}
	if got.Attempts == 0 {
		h.t.Errorf("%s: nothing was tried", row)
	}
}

// stopShared ends the shared node if there is one, and looks for leftovers.
func stopShared() bool {
	if shared.h == nil {
		return true
	}
	if err := shared.h.suite.Close(context.Background()); err != nil {
		shared.h.t.Errorf("the suite: %v", err)
	}
	shared.h.c.Close()
	shared.h.other.Close()
	shared.h.Stop()
	shared.h.AssertNothingLeft()
	os.RemoveAll(shared.h.Dir)
	return !*shared.h.t.(late).failed
}

// sleeper is a proc that says Started and stays.
func sleeper(program string) *api.ProcDesc {
	return &api.ProcDesc{Program: program, Args: []string{"sleep"}, Memory: 16 << 20}
}

// info is one living or ended proc.
func (n *Node) info(c *admin.Client, id api.ProcID) api.ProcInfo {
	n.t.Helper()
	w, err := c.Why(context.Background(), string(id))
	if err != nil {
		n.t.Fatalf("why %s: %v", id, err)
	}
	return w.Proc
}

// intact fails t where a canary is not what it was.
func (h *hostile) intact(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(h.flag)
	now, _ := os.Stat(h.flag)
	if err != nil || string(b) != flagText || !now.ModTime().Equal(h.before.ModTime()) || now.Mode() != h.before.Mode() ||
		changed(now) != changed(h.before) {
		t.Errorf("the flag on the host was touched: %q %v %v", b, err, now)
	}
	for _, f := range h.suite.Intact(context.Background()) {
		t.Error(f)
	}
	for i, c := range []*admin.Client{h.c, h.other} {
		was, is := h.victims[i], h.info(c, h.victims[i].ID)
		if is.State != api.Running || is.Stamps != was.Stamps {
			t.Errorf("victim %s in realm %s is %v, was %v", was.ID, was.Realm, is.State, was.State)
		}
	}
	select {
	case <-h.done:
		t.Fatalf("sigmad ended: %s", h.err)
	default:
	}
}

// changed is the inode's change time: a read of ours does not move it.
func changed(i os.FileInfo) syscall.Timespec { return i.Sys().(*syscall.Stat_t).Ctim }

// attempt is one line of the probe.
type attempt = attack.Attempt

const (
	eperm  = -int64(syscall.EPERM)
	enosys = -int64(syscall.ENOSYS)
	enoent = -int64(syscall.ENOENT)
	eacces = -int64(syscall.EACCES)
	erofs  = -int64(syscall.EROFS)
	enomem = -int64(syscall.ENOMEM)
)

// probe describes a run of the probe for a row.
func probe(row string, args ...string) *api.ProcDesc {
	return &api.ProcDesc{Program: "/bin/probe", Args: append([]string{row}, args...), Memory: 64 << 20}
}

// spawn starts a probe and returns its id.
func (h *hostile) spawn(c *admin.Client, d *api.ProcDesc) api.ProcID {
	h.t.Helper()
	id, err := c.Spawn(context.Background(), d)
	if err != nil {
		h.t.Fatalf("spawning %v: %v", d.Args, err)
	}
	return id
}

// lines is what a probe has printed by its end.
func (h *hostile) lines(c *admin.Client, id api.ProcID) (out []attempt) {
	h.t.Helper()
	var text bytes.Buffer
	err := c.Logs(context.Background(), api.LogQuery{Name: string(id), Follow: true, Stream: 1}, func(_ api.LogRecord, b []byte) error {
		text.Write(b)
		return nil
	})
	if err != nil {
		h.t.Fatalf("output of %s: %v", id, err)
	}
	for _, line := range strings.Split(strings.TrimSpace(text.String()), "\n") {
		var a attempt
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			h.t.Fatalf("the probe printed %q: %v", line, err)
		}
		out = append(out, a)
	}
	return out
}

// row runs a row to its end and returns its attempts. One that does not come
// to its end is a failure.
func (h *hostile) row(row string, args ...string) []attempt {
	h.t.Helper()
	return h.rowAs(h.c, probe(row, args...))
}

func (h *hostile) rowAs(c *admin.Client, d *api.ProcDesc) []attempt {
	h.t.Helper()
	id := h.spawn(c, d)
	st := h.Await(c, id)
	got := h.lines(c, id)
	if n := len(got); !st.OK() || n < 2 || got[n-1].Try != "end" || got[n-1].R != int64(n-1) {
		h.t.Fatalf("probe %v came to %v after %d lines, want its end; the last are %v", d.Args, st, n, got[max(0, n-3):])
	}
	return got[:len(got)-1]
}

// refused fails t for every attempt that was answered by anything but EPERM or
// ENOSYS, or by what is listed for it: the longest beginning of its name counts.
func refused(t *testing.T, got []attempt, atLeast int, but map[string][]int64) {
	t.Helper()
	if len(got) < atLeast {
		t.Errorf("only %d attempts were made, want %d", len(got), atLeast)
	}
	for _, a := range got {
		want, best := []int64{eperm, enosys}, -1
		for prefix, codes := range but {
			if strings.HasPrefix(a.Try, prefix) && len(prefix) > best {
				want, best = codes, len(prefix)
			}
		}
		if !slices.Contains(want, a.R) {
			t.Errorf("%s: %s: %d (%v), want one of %v", a.Row, a.Try, a.R, a.Errno(), want)
		}
	}
}

// find returns the attempt of a name.
func find(t *testing.T, got []attempt, try string) attempt {
	t.Helper()
	for _, a := range got {
		if a.Try == try {
			return a
		}
	}
	t.Fatalf("there is no attempt %q among %d", try, len(got))
	return attempt{}
}

// amd64Only skips rows that are about conventions of one architecture.
func amd64Only(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the row is about amd64")
	}
}

// soon waits for a proc's end and fails when it takes longer than a bound that
// was promised.
func (h *hostile) soon(c *admin.Client, id api.ProcID, within time.Duration) api.Status {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	st, err := c.WaitExit(ctx, id)
	if err != nil {
		h.t.Fatalf("%s has not ended after %v: %v", id, within, err)
	}
	return st
}

// marked finds the host pids of procs that were spawned with this environment
// entry.
func marked(entry string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), entry) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}
