package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sigmaos/api"
	"sigmaos/naming/s3"
	"sigmaos/naming/s3/direct"
	"sigmaos/naming/s3/local"
)

const (
	s3Size   = 256 << 20 // of the object
	s3Rounds = 11
	s3Bucket = "bench"
	s3Read   = "read-me"
)

// S3 measures one stream of a proc through /s3 against the AWS SDK used directly, by
// another process, on the same store: an object read to its end, and one written
// until it is whole. The store is one that the bench starts, versitygw over a
// directory, so that both have its key; the node is another that it starts. The SDK
// reads with one GetObject, as /s3 does, and with several for parts; it writes in
// parts of what comes as a stream, as /s3 does, and with one PutObject of what is
// in memory whole.
func S3(ctx context.Context, _ Cluster, o Options) (r Result, err error) {
	b := s3Bench{o: o, size: s3Size}
	if o.Bytes > 0 {
		b.size = o.Bytes
	}
	if b.dir, err = newDir(); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.dev, err = startDev(ctx, o, filepath.Join(b.dir, "dev"), 1); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.dev.stop()) }()
	if err := b.startStore(ctx); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.server.Close()) }()
	n := o.N
	if n == 0 {
		n = s3Rounds
	}
	sides := b.sides()
	for i := range n + 1 {
		fmt.Fprintf(o.Log, "round %d of %d\n", i, n)
		for k := range sides {
			s := sides[(i+k)%len(sides)]
			sigmad, store := cpuOf(b.dev.cmd.Process.Pid), cpuOf(b.server.PID())
			m, err := s.move(ctx)
			if err != nil {
				return r, fmt.Errorf("%s: %w", s.name, err)
			}
			if i > 0 { // the first fills caches
				s.add(b.size, m, cpuOf(b.dev.cmd.Process.Pid)-sigmad, cpuOf(b.server.PID())-store)
			}
		}
	}
	return s3Result(b.size, sides), nil
}

type s3Bench struct {
	o       Options
	size    int64
	dir     string
	dev     *devCluster
	server  *local.Server
	store   s3.Store
	program string
}

// setter is a Cluster that can set a realm's store.
type setter interface {
	SetS3(ctx context.Context, q api.S3Request) (api.S3Info, error)
}

// startStore starts the store, makes it the realm's, and puts there what will be
// read.
func (b *s3Bench) startStore(ctx context.Context) (err error) {
	set, ok := b.dev.Cluster.(setter)
	if !ok {
		return api.E(api.Unsupported, "bench", "s3", "this client cannot set a realm's store")
	}
	b.server = local.New(local.Config{
		Binary: filepath.Join(filepath.Dir(b.o.Sigmad), "versitygw"), Dir: filepath.Join(b.dir, "store"), RunDir: filepath.Join(b.dir, "s3"),
		Access: "bench", Secret: "of no use to anybody else",
	})
	defer func() {
		if err != nil {
			b.server.Close()
		}
	}()
	if b.store, err = b.server.Use(ctx); err != nil {
		return err
	}
	info, err := set.SetS3(ctx, api.S3Request{Realm: "default", Endpoint: b.store.Endpoint, Region: b.store.Region, AccessKey: b.store.AccessKey, Secret: b.store.Secret})
	if err == nil && info.Problem != "" {
		err = errors.New(info.Problem)
	}
	if err != nil {
		return err
	}
	p, err := b.dev.Upload(ctx, filepath.Join(b.o.Programs, "benchproc"))
	if err != nil {
		return err
	}
	b.program = p.Digest
	err = wait(ctx, func() error {
		err := b.dev.Sigma().Names().Mkdir(ctx, "/s3/~local/"+s3Bucket, 0o775)
		if api.KindOf(err) == api.Exists {
			err = nil
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = b.direct(ctx, direct.Put, s3Read)
	return err
}

// direct moves an object with the SDK, in parts as /s3 has them.
func (b *s3Bench) direct(ctx context.Context, how direct.How, key string) (direct.Moved, error) {
	return direct.Run(ctx, b.o.Sigmad, direct.Job{
		Store: b.store, Bucket: s3Bucket, Key: key, How: how, Size: b.size, Part: s3.PartSize, AtOnce: s3.PartsAtOnce,
	})
}

// proc moves one through the realm's name space, in a proc.
func (b *s3Bench) proc(ctx context.Context, how, key string) (m direct.Moved, err error) {
	p, err := startReserved(ctx, b.dev, b.program, reservedMCPU(), nil, "stream", how, "/s3/~local/"+s3Bucket+"/"+key, strconv.FormatInt(b.size, 10))
	if err != nil {
		return m, err
	}
	st, err := b.dev.WaitExit(ctx, p.ID)
	if err != nil {
		return m, err
	}
	if !st.OK() {
		return m, api.E(api.Internal, "bench", string(p.ID), "the proc ended: %v", st)
	}
	out, err := b.dev.Output(ctx, p.ID)
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	return m, err
}

// s3Side is one way of moving an object, round by round.
type s3Side struct {
	name  string
	move  func(ctx context.Context) (direct.Moved, error)
	rates []float64 // MB/s
	// CPU time, s: of the process that moves it, of sigmad, of the store.
	cpu, sigmad, store []float64
}

func (s *s3Side) add(size int64, m direct.Moved, sigmad, store float64) {
	s.rates = append(s.rates, float64(size)/1e6/(float64(m.NS)/1e9))
	s.cpu, s.sigmad, s.store = append(s.cpu, float64(m.CPU)/1e9), append(s.sigmad, sigmad), append(s.store, store)
}

// cpuOf is the CPU time that a process has used so far, s.
func cpuOf(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	sum := 0.0
	for _, f := range strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))[11:13] { // utime and stime
		n, _ := strconv.ParseFloat(f, 64)
		sum += n / 100
	}
	return sum
}

// sides are what is measured: the two of /s3, each before what it is compared with.
func (b *s3Bench) sides() []*s3Side {
	return []*s3Side{
		{name: "read", move: func(ctx context.Context) (direct.Moved, error) { return b.proc(ctx, "read", s3Read) }},
		{name: "sdk-get", move: func(ctx context.Context) (direct.Moved, error) { return b.direct(ctx, direct.Get, s3Read) }},
		{name: "sdk-get-parts", move: func(ctx context.Context) (direct.Moved, error) { return b.direct(ctx, direct.GetParts, s3Read) }},
		{name: "write", move: func(ctx context.Context) (direct.Moved, error) { return b.proc(ctx, "write", "written") }},
		{name: "sdk-put-parts", move: func(ctx context.Context) (direct.Moved, error) { return b.direct(ctx, direct.PutParts, "put-parts") }},
		{name: "sdk-put", move: func(ctx context.Context) (direct.Moved, error) { return b.direct(ctx, direct.Put, "put") }},
	}
}

// s3Result compares read and write with each way of the SDK.
func s3Result(size int64, sides []*s3Side) Result {
	var all []Result
	var ours *s3Side
	for _, s := range sides {
		r := Result{Bench: "s3", Row: s.name, Unit: "MB/s"}
		r.fill(append([]float64(nil), s.rates...))
		r.P90, r.P99 = 0, 0 // of rounds they say nothing
		r.rounds(s.rates)
		r.Note = fmt.Sprintf("%d MiB; CPU time %.2f s in its process, %.2f in the store", size>>20, median(s.cpu), median(s.store))
		if s.name == "read" || s.name == "write" {
			ours = s
			continue
		}
		x := Result{Bench: "s3", Row: ours.name, Unit: "MB/s", Against: s.name, AgainstValue: r.Value, Paired: paired(ours.rates, s.rates)}
		x.fill(append([]float64(nil), ours.rates...))
		x.P90, x.P99 = 0, 0
		x.rounds(ours.rates)
		x.Ratio = x.Value / x.AgainstValue
		x.Note = fmt.Sprintf("%d MiB; CPU time %.2f s in the proc, %.2f in sigmad, %.2f in the store", size>>20, median(ours.cpu), median(ours.sigmad), median(ours.store))
		all = append(all, x, r)
	}
	head := all[0]
	head.Rows = all
	return head
}
