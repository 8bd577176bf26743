package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sigmaos/api"
	"sigmaos/bench/lab"
	"sigmaos/naming/s3"
	"sigmaos/sigma"
)

const coldRounds = 15

// coldState is what the output says about the state before each start.
const coldState = "page cache and disk cache of the node: without the program; its name: not asked before; the realm's slots: warm; the link between the nodes: warm"

// coldRow is a program to start cold: that of the build, with so many bytes
// behind its end that nobody touches; and where it is.
type coldRow struct {
	name, program string
	size          int64
	put           func(t *twoNodes, ctx context.Context, path string) (program string, err error)
	against       string // row; "" is the first
	known         bool   // it was started on the other node before: its profile is known
}

// coldRows begin with the headline.
var coldRows = []coldRow{
	{"peer", "hello-raw", 0, (*twoNodes).putPeer, "", false},
	{"peer-glibc", "hello-c", 0, (*twoNodes).putPeer, "", false},
	{"peer-1MB", "hello-raw", 1 << 20, (*twoNodes).putPeer, "", false},
	{"peer-10MB", "hello-raw", 10 << 20, (*twoNodes).putPeer, "", false},
	{"peer-100MB", "hello-raw", 100 << 20, (*twoNodes).putPeer, "peer-1MB", false},
	{"store", "hello-raw", 0, (*twoNodes).putStore, "peer", false},
	{"store-glibc", "hello-c", 0, (*twoNodes).putStore, "peer-glibc", false},
	{"store-glibc-10MB", "hello-c", 10 << 20, (*twoNodes).putStore, "store-glibc", false},
	{"store-glibc-10MB-known", "hello-c", 10 << 20, (*twoNodes).putStore, "store-glibc-10MB", true},
	{"store-10MB", "hello-raw", 10 << 20, (*twoNodes).putStore, "peer-10MB", false},
	{"store-100MB", "hello-raw", 100 << 20, (*twoNodes).putStore, "peer-100MB", false},
}

// putPeer has node a have the program.
func (t *twoNodes) putPeer(ctx context.Context, path string) (string, error) {
	p, err := t.node[0].Upload(ctx, path)
	return p.Digest, err
}

// storeBucket is where the rows of the store put their programs: in the object
// store that a fresh cluster brings, on node a; no node has had them.
const storeBucket = "/s3/~any/bench"

func (t *twoNodes) putStore(ctx context.Context, path string) (string, error) {
	nc, ok := t.node[0].Cluster.(interface{ Names() *sigma.Names })
	if !ok {
		return "", api.E(api.Unsupported, "bench", "cold", "this client has no names")
	}
	n := nc.Names()
	err := wait(ctx, func() error {
		if err := n.Mkdir(ctx, storeBucket, 0o775); api.KindOf(err) != api.Exists {
			return err
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	program := fmt.Sprintf("%s/program-%d", storeBucket, now())
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	f, err := n.Create(ctx, program)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(f, from); err != nil {
		f.Abandon()
		return "", err
	}
	return program, f.Close()
}

// learn starts a program of the store on node a, and returns when what that start
// touched is kept in the store.
func (t *twoNodes) learn(ctx context.Context, program string) error {
	a := t.node[0]
	bucket, key := storeBucket, program[len(storeBucket)+1:]
	record := bucket + "/" + s3.Besides + "/" + s3.BesideName(key)
	n := a.Sigma().Names()
	before, err := n.Stat(ctx, record)
	if err != nil {
		return err
	}
	_, id, st, err := a.Run(ctx, &api.ProcDesc{Program: program, Args: []string{"-q"}, Memory: 64 << 20, Node: "a"})
	if err != nil || !st.OK() {
		return errors.Join(err, fmt.Errorf("bench: %s on the other node: %v", id, st))
	}
	return wait(ctx, func() error {
		now, err := n.Stat(ctx, record)
		if err == nil && now.Version == before.Version {
			err = errors.New("bench: the store does not learn what a start touches")
		}
		return err
	})
}

// Cold measures the first start of programs that only another node has, or only
// the object store: from the Spawn call of a tool to the first line of main. Each start is of a program
// of its own: the bytes behind the end of the file differ.
func Cold(ctx context.Context, _ Cluster, o Options) (r Result, err error) {
	n := o.N
	if n == 0 {
		n = coldRounds
	}
	pair, err := lab.NewPair()
	if err != nil {
		return r, err
	}
	defer pair.Close()
	t, err := startNodes(ctx, o, pair)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	rows := make(map[string]float64)
	for i, row := range coldRows {
		fmt.Fprintf(o.Log, "%s\n", row.name)
		rounds := n
		if row.size >= 100<<20 {
			rounds = min(n, 3) // each is 100 MB of disk and hashing on the other node
		}
		x, err := t.cold(ctx, o, row, rounds)
		if err != nil {
			return r, err
		}
		if i == 0 {
			bare, err := bareRound(filepath.Join(o.Programs, row.program), 10*rounds)
			if err != nil {
				return r, err
			}
			r, rows[row.name] = x, x.Value
			r.Against, r.AgainstValue = "bare", median(bare) // vfork and exec of the same file, on this machine's disk
			r.Ratio = r.Value / r.AgainstValue
			continue
		}
		x.Against, x.AgainstValue = r.Row, r.Value
		if row.against != "" {
			x.Against, x.AgainstValue = row.against, rows[row.against]
		}
		x.Ratio = x.Value / x.AgainstValue
		r.Rows, rows[row.name] = append(r.Rows, x), x.Value
	}
	return r, nil
}

// cold measures one row: puts programs where they shall be, starts them on node b.
func (t *twoNodes) cold(ctx context.Context, o Options, row coldRow, n int) (Result, error) {
	r := Result{Bench: "cold", Row: row.name, Unit: "ms"}
	text, err := os.ReadFile(filepath.Join(o.Programs, row.program))
	if err != nil {
		return r, api.E(api.NotFound, "bench", row.program, "this program is not built; it needs a C compiler: apt-get install gcc libc6-dev, then make")
	}
	if _, err := t.coldStart(ctx, row, text, nil); err != nil { // makes the slots
		return r, err
	}
	var ms []float64
	var fetched, requests, network []float64
	for range n {
		var w api.Why
		v, err := t.coldStart(ctx, row, text, &w)
		if err != nil {
			return r, err
		}
		if w.Start == nil || w.Start.Warm {
			return r, fmt.Errorf("bench: %s: a start that should be cold was warm", w.Proc.ID)
		}
		ms = append(ms, v)
		fetched, requests, network = append(fetched, float64(w.Start.Bytes)), append(requests, float64(w.Start.Requests)), append(network, float64(w.Start.Took)/1e6)
	}
	r.fill(ms)
	r.Value = r.P50
	r.Steps = map[string]float64{"network": median(network)}
	r.Note = fmt.Sprintf("%.0f bytes fetched for a start, in %.0f requests; %s", median(fetched), median(requests), coldState)
	return r, nil
}

// coldStart puts a program that nobody has had where the row wants it, and runs it
// on b, ms.
func (t *twoNodes) coldStart(ctx context.Context, row coldRow, text []byte, w *api.Why) (float64, error) {
	path := filepath.Join(t.dir, "program")
	more := make([]byte, max(row.size-int64(len(text)), 16))
	rand.Read(more)
	if err := os.WriteFile(path, append(bytes.Clone(text), more...), 0o700); err != nil {
		return 0, err
	}
	program, err := row.put(t, ctx, path)
	if err != nil {
		return 0, err
	}
	if row.known {
		if err := t.learn(ctx, program); err != nil {
			return 0, err
		}
	}
	time.Sleep(20 * time.Millisecond) // what that left to do
	b := t.node[1]
	begin := now()
	_, id, st, err := b.Run(ctx, &api.ProcDesc{Program: program, Args: []string{"-q"}, Memory: 64 << 20, Node: "b"})
	if err != nil {
		return 0, err
	}
	var first int64
	if _, err := fmt.Sscan(string(st.Data), &first); err != nil {
		return 0, fmt.Errorf("bench: %s: %v", id, st)
	}
	if w != nil {
		if *w, err = b.Why(ctx, string(id)); err != nil {
			return 0, err
		}
	}
	return float64(first-begin) / 1e6, nil
}
