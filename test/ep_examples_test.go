package test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// listening starts a proc that prints an endpoint and returns that.
func (n *Node) listening(c *admin.Client, program string, args ...string) (api.ProcID, api.Endpoint) {
	n.t.Helper()
	id := n.Running(c, &api.ProcDesc{Program: n.put(c, program), Args: args})
	return id, api.Endpoint(strings.TrimSpace(n.logs(c, id)))
}

// grpc-go's own health service and client run as procs, unchanged, and make no
// call that is denied.
func TestGRPCHealthBetweenProcs(t *testing.T) {
	nodes := StartCluster(t, 2)
	id, ep := nodes[0].listening(nodes[0].Client("default"), "grpchealth", "serve")
	for _, n := range nodes {
		n.put(n.Client("default"), "grpchealth")
		for _, tt := range []struct {
			args []string
			want string
			code int
		}{
			{[]string{"check", string(ep)}, "SERVING\n", 0},
			{[]string{"check", string(ep), "none"}, "", 1},
		} {
			out, e, code := n.Ctl(append([]string{"run", "/bin/grpchealth"}, tt.args...)...)
			if out != tt.want || code != tt.code {
				t.Errorf("%s: %q: %q, %q, status %d; want %q, %d", n.Name, tt.args, out, e, code, tt.want, tt.code)
			}
			if tt.code != 0 && !strings.Contains(e, "NotFound") {
				t.Errorf("%s: %q: %q, want gRPC's NotFound", n.Name, tt.args, e)
			}
		}
	}
	// A stream: well, and ill a moment later.
	if out, e, _ := nodes[1].Ctl("run", "/bin/grpchealth", "watch", string(ep), "toggle", "2"); out != "SERVING\nNOT_SERVING\n" {
		t.Errorf("watch: %q, %q", out, e)
	}
	// It ends as grpc-go wants to be ended.
	c := nodes[0].Client("default")
	if err := c.Kill(context.Background(), id, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if st := nodes[0].Await(c, id); !st.OK() {
		t.Errorf("after GracefulStop: %v", st)
	}
	w, err := c.Why(context.Background(), string(id))
	if err != nil || len(w.Denied) != 0 {
		t.Errorf("denied calls: %+v, %v", w.Denied, err)
	}
}

// Of several procs published in one directory ~any is one, whatever they speak: the
// near one, and another where that is no more.
func TestAnyOfSeveralPublishedEndpoints(t *testing.T) {
	nodes := StartCluster(t, 2)
	n := nodes[0]
	if _, e, code := n.Ctl("mkdir", "-p", "/svc/echo"); code != 0 {
		t.Fatal(e)
	}
	var ids []api.ProcID
	for i, on := range nodes {
		id, _ := on.listening(on.Client("default"), "echo", "serve", fmt.Sprint("/svc/echo/", i))
		ids = append(ids, id)
	}
	say := func(when string, on *Node, path string) {
		t.Helper()
		on.put(on.Client("default"), "echo")
		if out, e, code := on.Ctl("run", "/bin/echo", "say", path, "hello"); code != 0 || out != "hello\n" {
			t.Errorf("%s, on %s: %s says %q, %q, status %d", when, on.Name, path, out, e, code)
		}
	}
	for _, on := range nodes {
		say("both are there", on, "/svc/echo/~any")
	}
	if out, e, code := n.Ctl("run", "/bin/echo", "say", "/svc/~any", "hello"); code != 1 || !strings.Contains(e, "no endpoint link") {
		t.Errorf("where no endpoint is: %q, %q, status %d", out, e, code)
	}
	c := n.Client("default")
	if err := c.Kill(context.Background(), ids[0], 0); err != nil {
		t.Fatal(err)
	}
	n.Await(c, ids[0])
	say("one is left", n, "/svc/echo/~any")
}

// net/http's file server runs as a proc, unchanged; a client that is a proc, and
// one outside that comes through ep forward, see the same.
func TestHTTPFileServerAndForward(t *testing.T) {
	n := StartNode(t)
	id, ep := n.listening(n.Client("default"), "echo", "http")
	inside, e, code := n.Ctl("run", "/bin/echo", "get", string(ep), "/passwd")
	if code != 0 || !strings.Contains(inside, "/") {
		t.Fatalf("get /passwd: %q, %q", inside, e)
	}
	if _, e, code := n.Ctl("run", "/bin/echo", "get", string(ep), "/none"); code != 1 || !strings.Contains(e, "404") {
		t.Errorf("get /none: status %d, %q", code, e)
	}
	base := "http://" + n.forward(t, string(ep))
	get := func(path string, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequest("GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(header) == 2 {
			req.Header.Set(header[0], header[1])
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	if code, b := get("/passwd"); code != 200 || b != inside {
		t.Errorf("through forward: %d %q, want %q", code, b, inside)
	}
	if code, b := get("/passwd", "Range", "bytes=1-4"); code != 206 || b != inside[1:5] {
		t.Errorf("a range: %d %q, want %q", code, b, inside[1:5])
	}
	if code, b := get("/"); code != 200 || !strings.Contains(b, `href="passwd"`) {
		t.Errorf("a listing: %d %q", code, b)
	}
	if code, b := get("/ssl/certs/ca-certificates.crt"); code != 200 || len(b) < 1000 {
		t.Errorf("a larger file: %d, %d bytes", code, len(b))
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			r, err := http.Get(base + "/hosts")
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		})
	}
	wg.Wait()
	w, err := n.Client("default").Why(context.Background(), string(id))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range w.Denied {
		if d.Name != "sendfile" { // net/http tries it and falls back
			t.Errorf("denied: %s", d.Name)
		}
	}
}

// forward runs sigmactl ep forward until the test's end and returns where it
// listens.
func (n *Node) forward(t *testing.T, target string, env ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "sigmactl"), "ep", "forward", target, "127.0.0.1:0")
	cmd.Env = append(cmd.Environ(), "SIGMA_CONTEXT="+n.socket())
	cmd.Env = append(cmd.Env, env...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	own.Store(cmd.Process.Pid, true)
	var rest bytes.Buffer
	lines := bufio.NewReader(pipe)
	line, err := lines.ReadString('\n')
	done := make(chan struct{})
	go func() { io.Copy(&rest, lines); close(done) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGINT)
		<-done
		err := cmd.Wait()
		own.Delete(cmd.Process.Pid)
		if err != nil || rest.Len() > 0 {
			t.Errorf("ep forward ended with %v: %s", err, rest.String())
		}
	})
	addr, _, ok := strings.Cut(line, " goes to ")
	if _, _, perr := net.SplitHostPort(addr); err != nil || !ok || perr != nil {
		t.Fatalf("ep forward says %q, %v", line, err)
	}
	return addr
}

// From outside, with a realm's token, forward carries large streams both ways
// with half-closes, and tells who forwards nowhere why.
func TestForwardThroughTheGateway(t *testing.T) {
	n := StartNode(t)
	_, ep := n.listening(n.Client("default"), "echo", "serve")
	file := filepath.Join(t.TempDir(), "token")
	if _, e, code := n.Ctl("realm", "token", "default", "--user", "ann", "--file", file); code != 0 {
		t.Fatal(e)
	}
	addr := n.forward(t, string(ep), "SIGMA_CONTEXT="+file)
	want := bytes.Repeat([]byte("large "), 4<<20)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		conn.Write(want)
		conn.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came back, %v, or other ones", len(got), len(want), err)
	}
	for target, text := range map[string]string{"x": "neither an endpoint", "ep1-x": "neither an endpoint", "": "neither an endpoint"} {
		if _, e, code := n.Ctl("ep", "forward", target, "127.0.0.1:0"); code != 2 || !strings.Contains(e, text) {
			t.Errorf("ep forward %q: status %d, %q", target, code, e)
		}
	}
	if _, e, code := n.Ctl("ep", "forward", string(ep), "256.1.1.1:0"); code != 1 || e == "" {
		t.Errorf("ep forward to no address: status %d, %q", code, e)
	}
}

// Programs without the library: the frames of docs/PROC-ABI.md are enough.
func TestEchoInCAndRust(t *testing.T) {
	nodes := StartCluster(t, 2)
	for i, name := range []string{"echo-c", "echo-rust"} {
		t.Run(name, func(t *testing.T) {
			server := nodes[0].For(t)
			c := server.Client("default")
			id, ep := server.listening(c, name)
			from := nodes[i%2] // a socketpair, and TCP
			from.put(from.Client("default"), "echo")
			words := strings.Repeat("words and words ", 500)
			if out, e, code := from.Ctl("run", "/bin/echo", "say", string(ep), words); code != 0 || out != words+"\n" {
				t.Errorf("%d bytes came back, %q", len(out), e)
			}
			st := server.Await(c, id)
			if want := fmt.Sprint(len(words) + 1); !st.OK() || name == "echo-c" && string(st.Data) != want {
				t.Errorf("its end: %v with %q, want %s", st, st.Data, want)
			}
		})
	}
}
