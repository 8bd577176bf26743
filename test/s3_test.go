package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/s3/s3test"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

// awaitDir waits until a directory of the root has so many nodes.
func awaitDir(t *testing.T, n *sigma.Names, dir string, count int) {
	t.Helper()
	eventually(t, patience, dir, func() (bool, string) {
		list, err := n.ReadDir(minute(t), dir, "", 0)
		if err != nil {
			return false, err.Error()
		}
		var names []string
		for _, i := range list {
			names = append(names, i.Name())
		}
		return len(list) == count, strings.Join(names, " ")
	})
}

// ctl runs sigmactl, which must succeed.
func (n *Node) ctl(t *testing.T, args ...string) string {
	t.Helper()
	out, e, code := n.Ctl(args...)
	if code != 0 {
		t.Fatalf("sigmactl %s: %s", strings.Join(args, " "), e)
	}
	return out
}

// A fresh cluster has an object store: its tenants and their procs use it, and
// sigmactl does; realms see their own buckets alone, and a realm's go with it.
func TestPaper61_BucketsOfAFreshCluster(t *testing.T) {
	s3test.Binary(t)
	n := StartNode(t)
	c := n.Client("default")
	awaitDir(t, c.Names(), "/s3", 1)
	n.ctl(t, "mkdir", "/s3/~any/data")
	prog := n.Upload("testproc")
	var out bytes.Buffer
	id, err := c.Spawn(minute(t), &api.ProcDesc{Program: prog, Args: []string{"objects", "/s3/~local/data"}, Memory: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	st := n.Await(c, id)
	c.Logs(minute(t), api.LogQuery{Name: string(id)}, func(_ api.LogRecord, b []byte) error { out.Write(b); return nil })
	if st.Code != 0 {
		t.Fatalf("the proc ended with %v: %s", st, out.String())
	}
	if want := "big 16777216\nsmall 5\nstreamed 16777216\n"; out.String() != want {
		t.Errorf("the proc sees\n%swant\n%s", out.String(), want)
	}
	local := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(local, bytes.Repeat([]byte("line\n"), 500_000), 0o600); err != nil {
		t.Fatal(err)
	}
	n.ctl(t, "put", local, "/s3/~any/data/")
	if got := n.ctl(t, "ls", "/s3/~any/data"); got != "big\nfile\nsmall\nstreamed\n" {
		t.Errorf("ls prints %q", got)
	}
	if got, _ := os.ReadFile(local); n.ctl(t, "cat", "/s3/~any/data/file") != string(got) {
		t.Error("cat does not print what was put")
	}
	n.ctl(t, "cp", "-r", "/s3/~any/data", "/ux/~local/data")
	if b, _, err := c.Names().GetFile(minute(t), "/ux/~local/data/small"); err != nil || string(b) != "small" {
		t.Errorf("copied to scratch: %q, %v", b, err)
	}
	err = c.Names().Rename(minute(t), "/s3/~any/data/small", "/s3/~any/data/other")
	if api.KindOf(err) != api.Unsupported || !strings.Contains(err.Error(), "copy it") {
		t.Errorf("rename: %v, want Unsupported and what to do instead", err)
	}

	// Another realm has its own.
	n.ctl(t, "realm", "create", "other")
	other := n.Client("other")
	awaitDir(t, other.Names(), "/s3", 1)
	if got := n.ctl(t, "--realm", "other", "ls", "/s3/~any/"); got != "" {
		t.Errorf("another realm sees %q", got)
	}
	n.ctl(t, "--realm", "other", "mkdir", "/s3/~any/data")
	n.ctl(t, "--realm", "other", "put", local, "/s3/~any/data/theirs")
	if _, err := c.Names().Stat(minute(t), "/s3/~any/data/theirs"); api.KindOf(err) != api.NotFound {
		t.Errorf("the other realm's object: %v", err)
	}
	n.ctl(t, "realm", "rm", "other")
	eventually(t, 20*time.Second, "the removed realm's buckets", func() (bool, string) {
		list := findNamed(filepath.Join(n.Dir, "data", "s3"), "theirs")
		return len(list) == 0, strings.Join(list, " ")
	})
	n.ctl(t, "rm", "-r", "/s3/~any/data")
}

// A realm's own store: its key is used, is seen by nobody, and can be wrong.
func TestRealmsOwnStore(t *testing.T) {
	srv, st := s3test.Start(t)
	own.Store(srv.PID(), true)
	t.Cleanup(func() { own.Delete(srv.PID()) })
	n := StartNode(t, "--log-level", "debug")
	names := n.Client("default").Names()
	awaitDir(t, names, "/s3", 1)
	key := filepath.Join(t.TempDir(), "key")
	set := func(secret string) (string, string) {
		if err := os.WriteFile(key, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, e, code := n.Ctl("realm", "set-s3", "default", "--endpoint", st.Endpoint, "--access-key", st.AccessKey, "--secret-file", key, "--prefix", "tenant-")
		if code != 0 {
			t.Fatalf("set-s3: %s", e)
		}
		return out, e
	}
	if _, e := set("wrong"); !strings.Contains(e, "refuses the realm's key") {
		t.Errorf("with a wrong key set-s3 says %q", e)
	}
	_, err := names.ReadDir(minute(t), "/s3/~any/", "", 0)
	if api.KindOf(err) != api.Denied {
		t.Errorf("with a wrong key: %v, want Denied", err)
	}
	if _, e := set(st.Secret); e != "" {
		t.Errorf("with the right key set-s3 says %q", e)
	}
	n.ctl(t, "mkdir", "/s3/~any/data")
	if _, err := names.PutFile(minute(t), "/s3/~any/data/f", []byte("in the realm's store")); err != nil {
		t.Fatal(err)
	}
	if list := findNamed(strings.TrimSuffix(strings.TrimPrefix(st.Endpoint, "unix:"), "/socket"), "tenant-data"); len(list) != 1 {
		t.Errorf("the store has %q, want the bucket with its prefix", list)
	}
	out := n.ctl(t, "realm", "set-s3", "default", "--own", "-o", "json")
	eventually(t, 10*time.Second, "the cluster's own store again", func() (bool, string) {
		_, err := names.Stat(minute(t), "/s3/~any/data")
		return api.KindOf(err) == api.NotFound, "the bucket is there"
	})
	if said := n.err.String() + out; strings.Contains(said, st.Secret) {
		t.Error("the secret is in the log or in what sigmactl prints")
	}
	for name, args := range map[string][]string{
		"no key":      {"--endpoint", "http://127.0.0.1:1"},
		"no endpoint": {"--access-key", "a", "--secret-file", key},
		"ftp":         {"--endpoint", "ftp://x", "--access-key", "a", "--secret-file", key},
		"no file":     {"--endpoint", "http://x", "--access-key", "a", "--secret-file", "/does/not/exist"},
	} {
		if _, e, code := n.Ctl(append([]string{"realm", "set-s3", "default"}, args...)...); code == 0 || e == "" {
			t.Errorf("set-s3 with %s: status %d, %q", name, code, e)
		}
	}
	if _, _, code := n.Ctl("realm", "set-s3", "nobody", "--own"); code != 1 {
		t.Errorf("set-s3 of a realm that is not there: status %d, want 1", code)
	}
}

// Every node leads to the cluster's own store, which one of them has.
func TestOneStoreForAllNodes(t *testing.T) {
	s3test.Binary(t)
	nodes := StartCluster(t, 2)
	var clients []*admin.Client
	for _, n := range nodes {
		clients = append(clients, n.Client("default"))
	}
	awaitDir(t, clients[0].Names(), "/s3", 2)
	ctx := minute(t)
	if err := clients[1].Names().Mkdir(ctx, "/s3/~local/data", 0o775); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		data := strings.Repeat("x", i<<21+5)
		if _, err := c.Names().PutFile(ctx, "/s3/~local/data/f", []byte(data)); err != nil {
			t.Fatalf("put by node %d: %v", i+1, err)
		}
		for j, c := range clients {
			if b, _, err := c.Names().GetFile(ctx, "/s3/~local/data/f"); err != nil || string(b) != data {
				t.Errorf("node %d reads %d bytes of node %d, %v", j+1, len(b), i+1, err)
			}
		}
	}
}

// Ordinary tools on a bucket, through a mount: what close(2) has said is there.
func TestBucketsThroughAMount(t *testing.T) {
	s3test.Binary(t)
	n := StartNode(t)
	awaitDir(t, n.Client("default").Names(), "/s3", 1)
	n.ctl(t, "mkdir", "/s3/~any/data")
	dir := filepath.Join(n.Dir, "mnt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "sigmactl"), "mount", dir)
	cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+n.socket())
	var said output
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	own.Store(cmd.Process.Pid, true)
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	defer func() {
		cmd.Process.Signal(os.Interrupt)
		<-done
		own.Delete(cmd.Process.Pid)
	}()
	bucket := filepath.Join(dir, "s3", "~any", "data")
	eventually(t, 20*time.Second, "the mount", func() (bool, string) {
		_, err := os.Stat(bucket)
		return err == nil, said.String()
	})
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("0123456789abcdef"), 20<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ script, want string }{
		{"cp " + big + " big && cmp big " + big + " && echo same", "same\n"},
		{"(echo one; /bin/echo two; sh -c 'echo three') > lines; cat lines", "one\ntwo\nthree\n"},
		{"mkdir d && cp lines d/l && ls d && rm -r d && ls", "l\nbig\nlines\n"},
		{"mv lines moved && cat moved && ls", "one\ntwo\nthree\nbig\nmoved\n"},
		{"tail -c 6 moved; head -c 4 big", "three\n0123"},
		{"echo more >> moved 2>/dev/null || echo refused; cat moved", "refused\none\ntwo\nthree\n"},
		{"dd if=/dev/zero of=big bs=1 seek=5 count=1 conv=notrunc 2>/dev/null || echo refused", "refused\n"},
		{"cmp big " + big + " && echo same", "same\n"},
	} {
		cmd := exec.CommandContext(minute(t), "sh", "-c", c.script)
		cmd.Dir = bucket
		out, err := cmd.Output()
		if string(out) != c.want {
			t.Errorf("%s prints %q, %v; want %q", c.script, out, err, c.want)
		}
	}
}
