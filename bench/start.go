package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"sigmaos/api"
)

const startRounds = 12

// Start measures the warm start of a static hello, one at a time: from the
// Spawn call in another proc to the first line of main, against vfork and exec
// of the same file to the same stamp. Rounds alternate.
func Start(ctx context.Context, c Cluster, o Options) (Result, error) {
	n := o.N
	if n == 0 {
		n = 600
	}
	per := max(n/startRounds, 1)
	hello, helloPath, err := upload(ctx, c, o, "hello-raw", "a C compiler: apt-get install gcc libc6-dev, then make")
	if err != nil {
		return Result{}, err
	}
	driver, _, err := upload(ctx, c, o, "benchproc", "make")
	if err != nil {
		return Result{}, err
	}
	head, bareRow, err := against(ctx, c, driver, hello, helloPath, per)
	if err != nil {
		return Result{}, err
	}
	head.Row, bareRow.Row = "sigma", "bare"
	bareRow.Note = "vfork and exec of the same file to the same stamp"
	if head.Steps, err = startSteps(ctx, c, hello); err != nil {
		return Result{}, err
	}
	head.Rows = []Result{bareRow}
	for name, row := range map[string]string{"hello-c": "glibc-hello", "hello": "go-hello"} {
		program, path, err := upload(ctx, c, o, name, "make")
		if err != nil {
			continue // no C compiler here
		}
		s, b, err := against(ctx, c, driver, program, path, max(per/5, 1))
		if err != nil {
			return Result{}, err
		}
		s.Row = row
		b.Row = "bare-" + row
		head.Rows = append(head.Rows, s, b)
	}
	first, err := firstInRealm(ctx, c, o)
	if err != nil {
		return Result{}, err
	}
	head.Rows = append(head.Rows, first)
	return head, nil
}

// against measures starts of one program beside bare starts of the same file,
// in alternating rounds of per each.
func against(ctx context.Context, c Cluster, driver, program, path string, per int) (sigma, bare Result, err error) {
	var barePer, sigmaPer, bares, sigmas []float64
	for range startRounds {
		b, err := bareRound(path, per)
		if err != nil {
			return sigma, bare, err
		}
		s, err := startRound(ctx, c, driver, program, per)
		if err != nil {
			return sigma, bare, err
		}
		bares, sigmas = append(bares, b...), append(sigmas, s...)
		barePer, sigmaPer = append(barePer, median(b)), append(sigmaPer, median(s))
	}
	sigma = Result{Bench: "start", Unit: "ms", Against: "bare"}
	sigma.fill(sigmas)
	sigma.Value, sigma.AgainstValue = median(sigmaPer), median(barePer)
	sigma.Ratio = sigma.Value / sigma.AgainstValue
	sigma.Spread = []float64{slices.Min(sigmaPer), slices.Max(sigmaPer)}
	bare = Result{Bench: "start", Unit: "ms"}
	bare.fill(bares)
	return sigma, bare, nil
}

// upload puts a program of the build into the realm.
func upload(ctx context.Context, c Cluster, o Options, name, hint string) (program, path string, err error) {
	path = filepath.Join(o.Programs, name)
	if _, err := os.Stat(path); err != nil {
		return "", "", api.E(api.NotFound, "bench", path, "this program is not built; it needs %s", hint)
	}
	p, err := c.Upload(ctx, path)
	return p.Digest, path, err
}

// bareRound measures n bare starts, ms.
func bareRound(path string, n int) ([]float64, error) {
	var out []float64
	for range n {
		ns, err := bare(path)
		if err != nil {
			return nil, err
		}
		out = append(out, ns/1e6)
	}
	return out, nil
}

// startRound measures n starts from a proc, ms.
func startRound(ctx context.Context, c Cluster, driver, program string, n int) ([]float64, error) {
	out, err := runDriver(ctx, c, driver, "start", fmt.Sprint(n), program)
	if err != nil {
		return nil, err
	}
	var r struct{ NS []int64 }
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, err
	}
	ms := make([]float64, len(r.NS))
	for i, v := range r.NS {
		ms[i] = float64(v) / 1e6
	}
	return ms, nil
}

// runDriver runs benchproc and returns what it printed.
func runDriver(ctx context.Context, c Cluster, driver string, args ...string) ([]byte, error) {
	out, id, st, err := c.Run(ctx, &api.ProcDesc{Program: driver, Name: "bench", Args: args, Memory: 512 << 20, Class: api.LC, MCPU: 200, Env: []string{"GOMAXPROCS=1"}})
	if err != nil {
		return nil, err
	}
	if !st.OK() {
		return nil, api.E(api.Internal, "bench", string(id), "the driver ended: %v", st)
	}
	return out, nil
}

// startSteps takes the node's own stamps of some starts apart, ms.
func startSteps(ctx context.Context, c Cluster, program string) (map[string]float64, error) {
	var queue, slot, exec, main []float64
	for range 40 {
		_, id, st, err := c.Run(ctx, &api.ProcDesc{Program: program, Args: []string{"-q"}, Memory: 16 << 20})
		if err != nil || !st.OK() {
			return nil, fmt.Errorf("bench: %s: %v %v", id, st, err)
		}
		procs, err := c.Procs(ctx, api.ProcFilter{All: true})
		if err != nil {
			return nil, err
		}
		for _, p := range procs {
			var first int64
			if p.ID != id || p.Stamps.Exec == 0 {
				continue
			}
			fmt.Sscan(string(st.Data), &first)
			queue = append(queue, float64(p.Stamps.Placed-p.Stamps.Spawn)/1e6)
			slot = append(slot, float64(p.Stamps.Slot-p.Stamps.Placed)/1e6)
			exec = append(exec, float64(p.Stamps.Exec-p.Stamps.Slot)/1e6)
			main = append(main, float64(first-p.Stamps.Exec)/1e6)
		}
	}
	return map[string]float64{"queue": median(queue), "slot": median(slot), "exec": median(exec), "main": median(main)}, nil
}

// firstInRealm measures starts that find no slot: each in a realm of its own.
func firstInRealm(ctx context.Context, c Cluster, o Options) (Result, error) {
	r := Result{Bench: "start", Row: "first-in-realm", Unit: "ms", Note: "no slot yet; the program is new to the realm"}
	var ms []float64
	for i := range 9 {
		v, err := firstIn(ctx, c, o, fmt.Sprintf("bench-first-%d", i))
		if err != nil {
			return r, err
		}
		ms = append(ms, v)
	}
	r.fill(ms)
	return r, nil
}

func firstIn(ctx context.Context, c Cluster, o Options, name string) (ms float64, err error) {
	if err := c.CreateRealm(ctx, name); err != nil {
		return 0, err
	}
	defer func() {
		if rerr := c.RemoveRealm(context.WithoutCancel(ctx), name); err == nil {
			err = rerr
		}
	}()
	in, closer, err := c.InRealm(ctx, name)
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	hello, _, err := upload(ctx, in, o, "hello-raw", "a C compiler")
	if err != nil {
		return 0, err
	}
	begin := now()
	_, id, st, err := in.Run(ctx, &api.ProcDesc{Program: hello, Args: []string{"-q"}})
	if err != nil {
		return 0, err
	}
	var first int64
	if _, err := fmt.Sscan(string(st.Data), &first); err != nil {
		return 0, fmt.Errorf("bench: %s: %v", id, st)
	}
	return float64(first-begin) / 1e6, nil
}
