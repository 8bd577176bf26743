package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigmaos/naming/s3/s3test"
)

// figure is a row of a bench, as a script reads it.
type figure struct {
	Bench, Row, Measure, Unit, Against, Note string
	CPUs, N                                  int
	Value, P50, P99, Ratio                   float64
	AgainstValue                             float64 `json:"against_value"`
	RoundTrips                               float64 `json:"round_trips"`
	Paired                                   *struct {
		Pairs            int
		Low, High, Ratio float64
	}
	Checks []struct {
		Name, Text string
		OK         bool
	}
	Machine *struct {
		Cores          int
		Kernel, Cgroup string
		Layers         []string
	}
	Changes []float64
	Courses []struct {
		Panel, Name string
		X           []float64 `json:"x_s"`
		Y           []float64
	}
	Rows []figure
}

// bench starts sigmactl bench against the node.
func (n *Node) bench(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer, io.Reader) {
	n.t.Helper()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "sigmactl"), append([]string{"bench"}, args...)...)
	cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+filepath.Join(n.Dir, "run", "sock"))
	var out bytes.Buffer
	cmd.Stdout = &out
	errs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	return cmd, &out, errs
}

// figures runs a bench to its end and reads what it prints.
func (n *Node) figures(args ...string) (f figure) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd, out, errs := n.bench(ctx, append(args, "-o", "json")...)
	said, _ := io.ReadAll(errs)
	if err := cmd.Wait(); err != nil {
		n.t.Fatalf("bench %v: %v\n%s", args, err, said)
	}
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		n.t.Fatalf("bench %v prints no JSON: %v\n%s", args, err, out)
	}
	n.nothingOf(cmd.Process.Pid)
	if f.Bench != args[0] || f.Unit == "" || f.N == 0 || f.Value <= 0 || f.P50 <= 0 || f.Against == "" || f.AgainstValue <= 0 || f.Ratio <= 0 {
		n.t.Errorf("the headline of %v is %+v; want every key of BENCH set", args, f)
	}
	if m := f.Machine; m == nil || m.Cores == 0 || m.Kernel == "" || m.Cgroup == "" || len(m.Layers) == 0 {
		n.t.Errorf("the machine of %v is %+v", args, m)
	}
	return f
}

// nothingOf fails the test for what the nodes of a bench left behind.
func (n *Node) nothingOf(pid int) {
	n.t.Helper()
	var left []string
	for _, p := range []string{"/sys/fs/cgroup/*/sigma-bench-%d*", "/sys/fs/cgroup/*/*/*/sigma-bench-%d*", os.TempDir() + "/sigma-bench-%d-*"} {
		found, _ := filepath.Glob(fmt.Sprintf(p, pid))
		left = append(left, found...)
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, l := range lines {
		if b, err := os.ReadFile(l); err == nil && strings.Contains(string(b), fmt.Sprintf("bench-%d-", pid)) {
			left = append(left, "process "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	if len(left) > 0 {
		n.t.Errorf("the bench left behind: %q", left)
	}
}

// has looks for a row with figures, or with a note where it may be missing.
func (f figure) has(t *testing.T, row, measure string, optional bool) (found figure) {
	t.Helper()
	for _, r := range f.Rows {
		if r.Row != row {
			continue
		}
		if optional && r.Note != "" && r.Value == 0 {
			return r
		}
		if r.Measure == measure {
			if r.Value <= 0 || r.Unit == "" || r.N == 0 || r.P50 <= 0 {
				t.Errorf("row %s, %s: %+v has no figures", row, measure, r)
			}
			return r
		}
	}
	t.Errorf("there is no row %s, %s", row, measure)
	return found
}

func TestBenchDial(t *testing.T) {
	n := StartNode(t)
	f := n.figures("dial", "-n", "24")
	for _, row := range []string{"same-node", "raw-tcp-connect-loopback", "other-node", "raw-tcp-connect", "other-node-delayed", "raw-tcp-connect-delayed", "docker-bridge"} {
		for _, m := range []string{"dial", "first-answer", "rtt"} {
			f.has(t, row, m, row == "docker-bridge" || strings.HasSuffix(row, "-delayed"))
		}
	}
	if r := f.has(t, "other-node", "dial", false); r.Against != "raw-tcp-connect" || r.Paired == nil || r.Paired.Pairs < 6 || r.Paired.Low > r.Paired.High {
		t.Errorf("other-node is %+v; want an interval against raw-tcp-connect", r)
	}
	// The one thing about time that holds on any machine: over a way of 5 ms each
	// way, connect takes one round trip, and Dial at least one more.
	if r := f.has(t, "other-node-delayed", "dial", true); r.Note == "" && (r.AgainstValue < 10 || r.Value < 20) {
		t.Errorf("over 10 ms there and back connect takes %v ms, Dial %v ms", r.AgainstValue, r.Value)
	}
}

func TestBenchNet(t *testing.T) {
	n := StartNode(t)
	svg := filepath.Join(t.TempDir(), "net.svg")
	f := n.figures("net", "-n", "2", "--plot", svg)
	for _, m := range []string{"rtt", "throughput"} {
		for _, row := range []string{"same-node", "socketpair", "tcp-loopback", "socketpair-cells", "socketpair-service", "socketpair-go", "tcp-loopback-go", "other-node", "raw-tcp", "raw-tcp-cells", "raw-tcp-go", "vxlan", "docker-bridge"} {
			f.has(t, row, m, row == "vxlan" || row == "docker-bridge")
		}
	}
	f.has(t, "other-node", "dial", false)
	against := make(map[string]bool)
	for _, r := range f.Rows {
		if r.Row == "same-node" && r.Measure == "rtt" {
			against[fmt.Sprintf("%s on %d", r.Against, r.CPUs)] = true
		}
	}
	for _, want := range []string{"socketpair on 1", "tcp-loopback on 1"} {
		if !against[want] {
			t.Errorf("same-node is compared with %v; want also %s", against, want)
		}
	}
	if len(f.Checks) < 4 {
		t.Errorf("%d checks; want descriptor and payload on one node and between two", len(f.Checks))
	}
	for _, c := range f.Checks {
		if !c.OK || c.Text == "" {
			t.Errorf("check %s: %v, %s", c.Name, c.OK, c.Text)
		}
	}
	drawn(t, svg, "σOS (endpoint)", "VXLAN", "Gbit/s")
}

// drawn reads a picture as XML and looks for its words.
func drawn(t *testing.T, file string, words ...string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for dec := xml.NewDecoder(bytes.NewReader(b)); ; {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s is no XML: %v", file, err)
		}
	}
	for _, w := range words {
		if !strings.Contains(string(b), w) {
			t.Errorf("%q is not in the picture", w)
		}
	}
}

func TestBenchDrawsStartsToo(t *testing.T) {
	n := StartNode(t)
	svg := filepath.Join(t.TempDir(), "start.svg")
	Proc(t, "hello-raw")
	n.figures("start", "-n", "24", "--plot", svg)
	drawn(t, svg, "sigma", "bare", "ms")
}

// Every row that the names are judged by is there, and the 100,000th create in a
// directory asks of etcd what the first does.
func TestBenchName(t *testing.T) {
	n := StartNode(t)
	awaitScratch(t, n.Client("default").Names(), 1)
	f := n.figures("name", "-n", scaled("300", "100000"))
	rows := map[string]figure{f.Row: f}
	for _, r := range f.Rows {
		rows[r.Row] = r
	}
	for row, against := range map[string]string{
		"get-cached": "etcd get", "create": "etcd put", "put": "etcd put", "list-100k": "", "create-100kth": "create-1st", "create-1st": "",
		"rename": "etcd put", "watch": "", "get-64": "", "create-64": "etcd put-64", "ux-read": "file on the disk",
	} {
		r, ok := rows[row]
		if !ok || r.Unit == "" || r.N == 0 || r.Value <= 0 || r.Against != against || against != "" && (r.AgainstValue <= 0 || r.Ratio <= 0) {
			t.Errorf("row %s is %+v, want it against %q", row, r, against)
		}
	}
	var writes, bytes [2]float64
	for i, row := range []string{"create-1st", "create-100kth"} {
		if k, err := fmt.Sscanf(rows[row].Note, "%f etcd writes, %f bytes each", &writes[i], &bytes[i]); k != 2 {
			t.Fatalf("row %s says %q: %v", row, rows[row].Note, err)
		}
	}
	if writes[0] != writes[1] || writes[0] < 1 || bytes[1] > bytes[0]*1.05 {
		t.Errorf("a create in an empty directory costs %v writes of %v bytes, in a full one %v of %v", writes[0], bytes[0], writes[1], bytes[1])
	}
	if long && rows["list-100k"].Value > 1000 {
		t.Errorf("listing 100,000 names takes %v ms", rows["list-100k"].Value)
	}
}

// One stream through /s3, each way, against each way in which the SDK does it.
func TestBenchS3(t *testing.T) {
	s3test.Binary(t)
	n := StartNode(t)
	f := n.figures("s3", "-n", "1", "--mib", "20")
	against := make(map[string]string)
	for _, r := range f.Rows {
		if r.Unit != "MB/s" || r.N != 1 || r.Value <= 0 || !strings.Contains(r.Note, "20 MiB") || !strings.Contains(r.Note, "CPU time") {
			t.Errorf("row %s is %+v", r.Row, r)
		}
		if r.Against != "" {
			against[r.Row] += " " + r.Against
			if r.AgainstValue <= 0 || r.Ratio <= 0 {
				t.Errorf("row %s against %s: %+v", r.Row, r.Against, r)
			}
			continue
		}
		against[r.Row] = "itself"
	}
	want := map[string]string{
		"read": " sdk-get sdk-get-parts", "write": " sdk-put-parts sdk-put",
		"sdk-get": "itself", "sdk-get-parts": "itself", "sdk-put-parts": "itself", "sdk-put": "itself",
	}
	if !maps.Equal(against, want) {
		t.Errorf("the rows are compared with %q, want %q", against, want)
	}
	out, _, code := n.Ctl("bench", "s3", "-n", "1", "--mib", "20")
	if code != 0 || !strings.Contains(out, "sdk-put-parts") || !strings.Contains(out, "RATIO") {
		t.Errorf("as a table: status %d\n%s", code, out)
	}
	if _, e, code := n.Ctl("bench", "s3", "--mib", "-1"); code != 2 || !strings.Contains(e, "--mib") {
		t.Errorf("an object of -1 MiB: status %d, %q", code, e)
	}
}

func TestBenchRefusesWrongUse(t *testing.T) {
	n := StartNode(t)
	for name, args := range map[string][]string{
		"no such bench": {"bench", "nothing"}, "not an SVG": {"bench", "net", "--plot", "x.png"}, "negative": {"bench", "dial", "-n", "-1"}, "no name": {"bench"},
	} {
		if _, e, code := n.Ctl(args...); code != 2 || e == "" {
			t.Errorf("%s: sigmactl %v = %d, %q; want 2 and why", name, args, code, e)
		}
	}
}

// An interrupt ends a bench with everything that it started.
func TestBenchInterrupted(t *testing.T) {
	n := StartNode(t)
	for _, at := range []string{"one node", "two nodes"} {
		t.Run(at, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd, _, errs := n.bench(ctx, "dial", "-n", "1200")
			for sc := bufio.NewScanner(errs); sc.Scan() && !strings.HasPrefix(sc.Text(), at); {
			}
			cmd.Process.Signal(syscall.SIGINT) // while procs or plain processes run
			rest, _ := io.ReadAll(errs)
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("an interrupted bench ends with %v, want status 1\n%s", err, rest)
			}
			n.nothingOf(cmd.Process.Pid)
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				out, _, _ := n.Ctl("ps")
				if strings.Count(out, "\n") <= 1 {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("procs of the bench still run:\n%s", out)
				}
			}
		})
	}
}

// Four realms come and go. What a busy machine lets them have is not looked at,
// but what each figure is made of.
func TestBenchFair(t *testing.T) {
	n := StartNode(t)
	svg := filepath.Join(t.TempDir(), "fair.svg")
	f := n.figures("fair", "--seconds", "3", "--plot", svg)
	if f.Row != "distance" || f.Value < 0 || f.Unit == "" {
		t.Errorf("the headline is %+v", f)
	}
	f.has(t, "settle", "", false)
	if u := f.has(t, "utilization", "", false); u.AgainstValue <= 0 || u.Ratio <= 0 || u.Against != "one realm alone" {
		t.Errorf("utilization is %+v", u)
	}
	if len(f.Checks) != 3 {
		t.Errorf("checks %+v; want shares, soon, nothing idle", f.Checks)
	}
	if len(f.Courses) != 4 || len(f.Changes) != 8 {
		t.Fatalf("%d courses and %d changes; want 4, one for each realm, and 8 with the end", len(f.Courses), len(f.Changes))
	}
	for i, c := range f.Courses {
		if len(c.X) != len(c.Y) || len(c.X) < 20 {
			t.Errorf("course %d has %d and %d figures", i, len(c.X), len(c.Y))
			continue
		}
		// They come one after the other, and go so; the last one stays to the end.
		begin, end := f.Changes[i], f.Changes[i+4]
		for k, x := range c.X {
			if (x < begin-0.5 || x > end+3) && c.Y[k] > 0.3 {
				t.Errorf("realm %d used %.2f cores at %.2f s, when it had no work", i+1, c.Y[k], x)
			}
		}
	}
	drawn(t, svg, "realm 1", "realm 4", "Figure 10")
	if out, _, _ := n.Ctl("realm", "ls"); strings.Contains(out, "bench-fair") {
		t.Errorf("realms of the bench are left:\n%s", out)
	}
	if out, _, _ := n.Ctl("ps"); strings.Count(out, "\n") > 1 {
		t.Errorf("procs of the bench still run:\n%s", out)
	}
	if _, e, code := n.Ctl("bench", "fair", "--seconds", "1"); code == 0 || !strings.Contains(e, "--seconds") {
		t.Errorf("a second is too short for it: %d %q", code, e)
	}
	if _, e, code := n.Ctl("bench", "fair", "--load", "nothing"); code == 0 || !strings.Contains(e, "--load nothing") {
		t.Errorf("a load that there is not: %d %q", code, e)
	}
}

// The paper's own load: procs that scale images.
func TestBenchFairOfImages(t *testing.T) {
	if !long {
		t.Skip("half a minute; SIGMA_LONG=1")
	}
	f := StartNode(t).figures("fair", "--seconds", "3", "--load", "img")
	if f.Row != "distance" || !strings.Contains(f.Note, "scale an image") || len(f.Courses) != 4 {
		t.Errorf("%+v", f)
	}
	if u := f.has(t, "utilization", "", false); u.Value <= 0 || u.AgainstValue <= 0 {
		t.Errorf("utilization is %+v", u)
	}
}

// A reserved server and its reserved client, with and without best-effort procs.
func TestBenchLC(t *testing.T) {
	n := StartNode(t)
	svg := filepath.Join(t.TempDir(), "lc.svg")
	f := n.figures("lc", "-n", "2", "--seconds", "1", "--plot", svg)
	if f.Row != "ratio" || f.Value <= 0 || f.N != 2 {
		t.Errorf("the headline is %+v", f)
	}
	for _, row := range []string{"all", "steady", "bursts"} {
		beside, alone := f.has(t, row, "p99", false), f.has(t, row+", alone", "p99", false)
		if beside.P99 < 0.3 || alone.P99 < 0.3 || beside.P50 > beside.P99 || beside.Against != alone.Row {
			t.Errorf("%s: %+v, alone %+v; a request alone is 0.4 ms of work", row, beside, alone)
		}
		if beside.N != alone.N || row == "steady" && beside.N < 2*500 {
			t.Errorf("%s: %d requests, %d alone; the schedule is the same", row, beside.N, alone.N)
		}
	}
	if l := f.has(t, "left-over", "", false); l.Value <= 0 || l.Value > 1.05 {
		t.Errorf("best-effort procs had %v of what was left", l.Value)
	}
	if len(f.Checks) != 2 {
		t.Errorf("checks %+v; want latency and left-over", f.Checks)
	}
	drawn(t, svg, "alone", "beside best-effort procs", "Figure 11")
	if out, _, _ := n.Ctl("ps"); strings.Count(out, "\n") > 1 {
		t.Errorf("procs of the bench still run:\n%s", out)
	}
}

// Every proc of the bench is placed, and once.
func TestBenchPlace(t *testing.T) {
	n := StartNode(t)
	svg := filepath.Join(t.TempDir(), "place.svg")
	f := n.figures("place", "-n", "1", "--seconds", "1", "--plot", svg) // on a busy machine a placement takes most of a second
	for row, r := range map[string]figure{"besched": f, "lcsched": f.has(t, "lcsched", "", false)} {
		if r.Row != row || r.P50 <= 0 || r.P99 < r.P50 || r.Ratio <= 0 || r.Unit != "placements/s" {
			t.Errorf("row %s is %+v", row, r)
		}
	}
	names := make(map[string]bool)
	for _, c := range f.Checks {
		names[c.Name] = true
		if !c.OK && c.Name != "batches" { // a busy machine lets them wait
			t.Errorf("%s: not so: %s", c.Name, c.Text)
		}
	}
	if !names["accepted once"] || !names["under way"] || !names["batches"] || !names["what is part of it"] {
		t.Errorf("checks %+v", f.Checks)
	}
	drawn(t, svg, "besched", "lcsched")
	if out, _, _ := n.Ctl("ps"); strings.Count(out, "\n") > 1 {
		t.Errorf("procs of the bench are in the cluster:\n%s", out)
	}
}

// A bench that runs is nothing left over, though no process is in its groups. One that
// was killed is, until doctor or the next bench cleans up.
func TestDoctorKnowsARunningBench(t *testing.T) {
	n := StartNode(t)
	cmd := exec.Command(filepath.Join(bin, "sigmactl"), "bench", "place", "-n", "1", "--seconds", "600")
	cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+n.socket())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and the processes that it has started
		cmd.Wait()
	})
	defer kill()
	root := fmt.Sprintf("sigma-bench-%d-", cmd.Process.Pid)
	groups := func() (n int) {
		for _, h := range hierarchies() {
			for _, dir := range findNamed(h, root) {
				if _, err := os.Stat(filepath.Join(dir, "be", "node")); err == nil {
					n++
				}
			}
		}
		return n
	}
	eventually(t, patience, "the bench has its groups", func() (bool, string) {
		time.Sleep(50 * time.Millisecond) // groups looks at all of the machine
		return groups() > 0, root
	})
	if out, _, _ := n.Ctl("doctor"); strings.Contains(out, root) {
		t.Errorf("doctor calls what a running bench has left over:\n%s", out)
	}
	kill()
	eventually(t, patience, "doctor sees what is left", func() (bool, string) {
		out, _, _ := n.Ctl("doctor")
		return strings.Contains(out, root) || groups() == 0, out // a bench that somebody else runs cleans too
	})
	if _, e, code := n.Ctl("bench", "place", "-n", "1", "--seconds", "0.2"); code != 0 {
		t.Errorf("the next bench: %s", e)
	}
	n.nothingOf(cmd.Process.Pid)
	if out, _, _ := n.Ctl("doctor"); strings.Contains(out, root) {
		t.Errorf("after the next bench:\n%s", out)
	}
}

// The cluster that a bench has started ends with it, also with kill -9, and what that
// leaves on the disk goes with the next bench.
func TestABenchsClusterEndsWithIt(t *testing.T) {
	n := StartNode(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd, _, errs := n.bench(ctx, "s3")
	kill := sync.OnceFunc(func() {
		cmd.Process.Kill()
		io.Copy(io.Discard, errs)
		cmd.Wait()
	})
	defer kill()
	name := fmt.Sprintf("\x00bench-%d\x00", cmd.Process.Pid)
	processes := func() (n int) {
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, l := range lines {
			if b, err := os.ReadFile(l); err == nil && strings.Contains(string(b), name) {
				n++
			}
		}
		return n
	}
	eventually(t, patience, "the bench has a cluster", func() (bool, string) { return processes() > 0, "no process" })
	kill()
	eventually(t, patience, "the cluster ends", func() (bool, string) { n := processes(); return n == 0, fmt.Sprint(n, " processes") })
	if _, e, code := n.Ctl("bench", "place", "-n", "1", "--seconds", "0.2"); code != 0 {
		t.Errorf("the next bench: %s", e)
	}
	n.nothingOf(cmd.Process.Pid)
}
