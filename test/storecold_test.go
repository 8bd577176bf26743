package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/s3"
	"sigmaos/naming/s3/s3test"
	"sigmaos/runtime/binfs"
)

// A program that is put into the realm's object store starts on any node; no node
// reads it whole first, and what it runs is fetched from the store.
func TestPaper33_ProgramFromTheStore(t *testing.T) {
	s3test.Binary(t)
	nodes := StartCluster(t, 2)
	names := nodes[0].Client("default").Names()
	awaitDir(t, names, "/s3", 2)
	nodes[0].ctl(t, "mkdir", "/s3/~any/bin")
	nodes[0].ctl(t, "mkdir", "/s3/~any/bin/tools")
	const path = "/s3/~any/bin/tools/hello"
	nodes[0].ctl(t, "put", Proc(t, "hello"), path)
	var digest string
	for _, n := range nodes {
		c := n.Client("default")
		for round := range 2 {
			id, err := c.Spawn(context.Background(), &api.ProcDesc{Program: path})
			if err != nil {
				t.Fatalf("spawn on %s: %v", n.Name, err)
			}
			if st := n.Await(c, id); st.State != api.Exited || st.Code != 0 {
				t.Fatalf("the proc on %s ended %+v, want exited 0", n.Name, st)
			}
			y, err := c.Why(context.Background(), string(id))
			if err != nil || y.Start == nil {
				t.Fatalf("why: %+v, %v", y, err)
			}
			if round > 0 {
				if !y.Start.Warm {
					t.Errorf("the second start on %s: %+v, want a warm one", n.Name, y.Start)
				}
				continue
			}
			if y.Start.Warm || y.Start.From != path {
				t.Errorf("the first start on %s: %+v, want a cold one from the store", n.Name, y.Start)
			}
			if digest == "" {
				digest = y.Proc.Digest
			} else if y.Proc.Digest != digest {
				t.Errorf("%s says that the program is %s, another said %s", n.Name, y.Proc.Digest, digest)
			}
		}
		if stored := n.storedPrograms(); len(stored) != 0 {
			t.Errorf("%s has %v whole, want what a start touches alone", n.Name, stored)
		}
	}
	nodes[0].ctl(t, "put", Proc(t, "testproc"), path)
	id, err := nodes[1].Client("default").Spawn(context.Background(), &api.ProcDesc{Program: path, Args: []string{"exit", "7"}})
	if err != nil {
		t.Fatal(err)
	}
	if st := nodes[1].Await(nodes[1].Client("default"), id); st.Code != 7 {
		t.Errorf("after another program was put there: %+v, want the new one with status 7", st)
	}
	if out := nodes[0].ctl(t, "ls", "/s3/~any/bin"); out != "tools/\n" && out != "tools\n" {
		t.Errorf("the bucket shows %q, want the directory that was made", out)
	}
	nodes[0].ctl(t, "rm", "-r", "/s3/~any/bin") // with what is kept beside programs
}

// What the first start of a program from the store was seen to touch is kept there:
// the first start on another node has all of it with its first question. A record
// that makes no sense, or lies, costs time and nothing else.
func TestPaper33_StartProfileTravelsInTheStore(t *testing.T) {
	s3test.Binary(t)
	nodes := StartCluster(t, 3)
	names := nodes[0].Client("default").Names()
	awaitDir(t, names, "/s3", 3)
	nodes[0].ctl(t, "mkdir", "/s3/~any/bin")
	nodes[0].ctl(t, "mkdir", "/s3/~any/bin/tools")
	const path, key = "/s3/~any/bin/tools/prog", "tools/prog"
	record := "/s3/~any/bin/" + s3.Besides + "/" + s3.BesideName(key)
	hello, err := os.ReadFile(Proc(t, "hello-c"))
	if err != nil {
		t.Fatal(err)
	}
	// With what nobody touches behind its end it is too large to be fetched whole.
	if _, err := names.PutFile(minute(t), path, append(hello, make([]byte, 3<<20)...)); err != nil {
		t.Fatal(err)
	}
	start := func(n *Node) api.ColdStart {
		t.Helper()
		c := n.Client("default")
		id, err := c.Spawn(minute(t), n.bound(&api.ProcDesc{Program: path, Args: []string{"-q"}}))
		if err != nil {
			t.Fatalf("spawn on %s: %v", n.Name, err)
		}
		if st := n.Await(c, id); st.State != api.Exited || st.Code != 0 {
			t.Fatalf("the proc on %s ended %+v, want exited 0", n.Name, st)
		}
		return n.howStarted(id)
	}
	kept := func() (b binfs.Beside) {
		t.Helper()
		data, _, err := names.GetFile(minute(t), record)
		if err == nil {
			b, err = binfs.UnmarshalBeside(data)
		}
		if err != nil {
			t.Fatalf("what is kept beside the program: %v", err)
		}
		return b
	}
	before := kept()
	if len(before.Opening.Profile) != 0 {
		t.Fatalf("before any start the store has the profile %v", before.Opening.Profile)
	}
	first := start(nodes[0])
	eventually(t, 20*time.Second, "the store has what the start touched", func() (bool, string) {
		return len(kept().Opening.Profile) > 1, "no profile"
	})
	b := kept()
	if b.Version != before.Version || !bytes.Equal(b.Opening.Tree, before.Opening.Tree) {
		t.Error("with the profile another version or tree is kept")
	}
	second := start(nodes[1])
	if first.Warm || second.Warm || first.From != path || second.From != path {
		t.Errorf("starts on two nodes: %+v and %+v, want both cold and from the store", first, second)
	}
	if second.Requests != 1 || first.Requests < 2 {
		t.Errorf("the first start took %d requests, one with its profile %d; want several, and 1", first.Requests, second.Requests)
	}
	// Chunks that are not the program's, listed in a record that is whole.
	lie := b
	lie.Opening.Data = bytes.Repeat([]byte("no"), len(b.Opening.Data)/2)
	if _, err := names.PutFile(minute(t), record, lie.Marshal()); err != nil {
		t.Fatal(err)
	}
	if third := start(nodes[2]); third.Warm || third.Bytes == 0 {
		t.Errorf("the start beside a record that lies: %+v, want a cold one", third)
	}
}

// A binary is overwritten while it runs: the proc that runs keeps its digest and runs
// on, and the next spawn is of what is there now.
func TestFAULTS_F20_ProgramOverwrittenWhileItRuns(t *testing.T) {
	s3test.Binary(t)
	n := StartNode(t)
	c := n.Client("default")
	awaitDir(t, c.Names(), "/s3", 1)
	n.ctl(t, "mkdir", "/s3/~any/bin")
	for _, path := range []string{"/s3/~any/bin/prog", "/ux/~local/prog"} {
		t.Run(path, func(t *testing.T) {
			n.ctl(t, "put", Proc(t, "testproc"), path)
			running := n.Running(c, sleeper(path))
			old := n.info(c, running).Digest
			n.ctl(t, "put", Proc(t, "hello"), path)
			id, err := c.Spawn(minute(t), &api.ProcDesc{Program: path})
			if err != nil {
				t.Fatal(err)
			}
			if st := n.Await(c, id); !st.OK() {
				t.Errorf("the program that is there now ended %v", st)
			}
			if now := n.info(c, id).Digest; now == old || now == "" {
				t.Errorf("the spawn after it was overwritten is of %s, the one before of %s", now, old)
			}
			if p := n.info(c, running); p.State != api.Running || p.Digest != old {
				t.Errorf("the proc that ran: %v of %s, want it running with %s", p.State, p.Digest, old)
			}
			if err := c.Kill(minute(t), running, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// badStore is a store that can be told to fail when it is asked for programs.
type badStore struct {
	*httptest.Server
	mode atomic.Pointer[string]
}

func standBefore(t *testing.T, st s3.Store) (*badStore, s3.Store) {
	b := &badStore{}
	path := strings.TrimPrefix(st.Endpoint, "unix:")
	hops := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	spoiled := func(r *http.Request) string {
		m := *b.mode.Load()
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/program") && !strings.Contains(r.URL.Path, "/.sigma/") {
			return ""
		}
		if beside := strings.Contains(r.URL.Path, "/.sigma/"); beside != strings.HasPrefix(m, "beside: ") {
			return ""
		}
		return strings.TrimPrefix(m, "beside: ")
	}
	rp := &httputil.ReverseProxy{
		Transport: hops, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL = &url.URL{Scheme: "http", Host: "store", Path: r.In.URL.Path, RawPath: r.In.URL.RawPath, RawQuery: r.In.URL.RawQuery}
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			m := spoiled(r.Request)
			if m == "trickles" {
				r.Body = &trickle{r.Body, r.Request.Context()}
				return nil
			}
			if m != "flips bits" && m != "truncates" {
				return nil
			}
			all, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			if m == "flips bits" && len(all) > 0 {
				all[len(all)/2] ^= 4
			} else {
				all = all[:len(all)/2]
			}
			r.Body = io.NopCloser(bytes.NewReader(all))
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	b.set("")
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch spoiled(r) {
		case "answers 500":
			w.WriteHeader(http.StatusInternalServerError)
		case "is down":
			panic(http.ErrAbortHandler)
		case "hangs":
			<-r.Context().Done()
		default:
			rp.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { b.CloseClientConnections(); b.Close(); hops.CloseIdleConnections() })
	st.Endpoint = b.URL
	return b, st
}

// trickle is a body that comes faster than nothing, and slower than any patience.
type trickle struct {
	io.ReadCloser
	ctx context.Context
}

func (t *trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(50 * time.Millisecond):
		return t.ReadCloser.Read(p[:1])
	case <-t.ctx.Done():
		return 0, t.ctx.Err()
	}
}

func (b *badStore) set(mode string) { b.mode.Store(&mode) }

// FAULTS F19, F20: of a store that is down, hangs, answers 500, cuts short or flips
// bits, nothing unverified is ever exec'ed; the start is refused with a reason, also
// for those who wait; another realm's starts go on; and when the store is well the
// same program starts.
func TestFAULTS_F20_ProgramInABadStore(t *testing.T) {
	srv, st := s3test.Start(t)
	own.Store(srv.PID(), true)
	t.Cleanup(func() { own.Delete(srv.PID()) })
	bad, st := standBefore(t, st)
	n := StartNode(t)
	n.ctl(t, "realm", "create", "other")
	other := n.UploadTo("other", "hello-raw")
	c, oc := n.Client("default"), n.Client("other")
	awaitDir(t, c.Names(), "/s3", 1)
	key := n.Dir + "/key"
	if err := os.WriteFile(key, []byte(st.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	n.ctl(t, "realm", "set-s3", "default", "--endpoint", st.Endpoint, "--access-key", st.AccessKey, "--secret-file", key)
	n.ctl(t, "mkdir", "/s3/~any/bin")
	hello, err := os.ReadFile(Proc(t, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	for i, mode := range []string{"flips bits", "truncates", "answers 500", "is down", "hangs", "trickles", "beside: flips bits", "beside: truncates", "beside: answers 500"} {
		t.Run(mode, func(t *testing.T) {
			path := fmt.Sprintf("/s3/~any/bin/program-%d", i)
			bad.set("")
			if _, err := c.Names().PutFile(minute(t), path, append(bytes.Clone(hello), byte(i))); err != nil {
				t.Fatal(err)
			}
			bad.set(mode)
			started := make(chan error, 1)
			var ids []api.ProcID
			go func() {
				var errs []error
				for range 3 {
					id, err := c.Spawn(minute(t), &api.ProcDesc{Program: path})
					ids = append(ids, id)
					errs = append(errs, err)
				}
				started <- errors.Join(errs...)
			}()
			if st := n.Run(oc, &api.ProcDesc{Program: other, Args: []string{"-q"}}); st.State != api.Exited {
				t.Errorf("another realm's proc ended %+v, want exited", st)
			}
			if err := <-started; strings.HasPrefix(mode, "beside: ") {
				if api.KindOf(err) != api.Unavailable && !strings.Contains(fmt.Sprint(err), "damaged") {
					t.Errorf("spawn: %v, want Unavailable", err)
				}
			} else if err != nil {
				t.Errorf("spawn: %v", err)
			} else {
				for _, id := range ids {
					// What came before the store failed may be enough for exec to begin.
					st := n.Await(c, id)
					if st.State != api.Refused && st.State != api.Signal || !strings.Contains(st.Message, "bytes could not be had") {
						t.Errorf("the proc ended %+v, want an end for want of its bytes", st)
					}
				}
			}
			bad.set("")
			eventually(t, 20*time.Second, "the same program starts when the store is well", func() (bool, string) {
				st := n.Run(c, &api.ProcDesc{Program: path})
				return st.State == api.Exited && st.Code == 0, fmt.Sprintf("%+v", st)
			})
		})
	}
}
