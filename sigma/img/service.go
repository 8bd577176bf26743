package img

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
	"sigmaos/sigma/rpc"
)

// Service says what a service is to be. StartService fills in what is left out.
type Service struct {
	Path     string        `json:"path"` // where it is published
	Program  string        `json:"program"`
	Memory   int64         `json:"memory"`    // of a worker; 384 MiB
	Tries    int           `json:"tries"`     // failures of a worker that end an image; 4
	Limit    time.Duration `json:"taskLimit"` // for one attempt; 1 min
	Parallel int           `json:"parallel"`  // workers at a time; 0: by the cores of the cluster
	Queue    int           `json:"queue"`     // images that wait, before more get Busy; 64
}

const (
	// MaxImage is how many bytes a request or an answer has; larger images go by
	// path.
	MaxImage   = 8 << 20
	maxClients = 32
	serviceCPU = 200
	serviceMem = maxClients*MaxImage + 128<<20
	defQueue   = 64
)

func (s *Service) normalize() error {
	job.Default(&s.Memory, defMemory)
	job.Default(&s.Tries, defTries)
	job.Default(&s.Limit, defTaskLimit)
	job.Default(&s.Queue, defQueue)
	bad := func(format string, args ...any) error { return api.E(api.Invalid, "img", s.Path, format, args...) }
	switch {
	case !strings.HasPrefix(s.Path, "/") || strings.HasSuffix(s.Path, "/"):
		return bad("a service is published at a path of the realm, as /svc/img")
	case s.Memory < minMemory:
		return bad("%d bytes of memory; a worker needs %d MiB", s.Memory, minMemory>>20)
	case s.Tries < 1 || s.Parallel < 0 || s.Queue < 0 || s.Limit < time.Second:
		return bad("tries, parallel, queue and the time limit of an attempt (at least 1 s) cannot be negative")
	}
	return nil
}

// StartService starts a service, and returns when clients can find it.
func StartService(ctx context.Context, c *sigma.Client, s Service) (sigma.ProcID, error) {
	if err := s.normalize(); err != nil {
		return "", err
	}
	if i, err := c.Names().Lstat(ctx, s.Path); err == nil {
		return "", api.E(api.Exists, "img", s.Path, "there is something (%s); kill the service that is there, or name another path", i.Mode())
	}
	if err := c.Names().MkdirAll(ctx, path.Dir(s.Path), 0o775); err != nil {
		return "", err
	}
	d := &sigma.Desc{Program: s.Program, Name: "img-service", Class: sigma.LC, MCPU: serviceCPU, Memory: serviceMem, Env: work{Role: "service", Service: &s}.env()}
	id, err := c.Spawn(ctx, d)
	if err != nil {
		return "", err
	}
	return id, c.WaitStart(ctx, id)
}

// server is a running service.
type server struct {
	Service
	n     *sigma.Names
	dir   string // in scratch space, for images that came as bytes
	slots chan struct{}

	inside   atomic.Int64 // images that run or wait
	stopping atomic.Bool
	number   atomic.Int64
	done     atomic.Int64
	failed   atomic.Int64
	busy     atomic.Int64
}

func runService(w *work) {
	ctx := context.Background()
	s := &server{Service: *w.Service, n: sigma.Self().Names()}
	lis, err := s.open(ctx)
	if err != nil {
		job.Leave(1, err.Error(), nil)
	}
	srv := rpc.NewServer(rpc.Options{MaxFrame: frame, MaxBytes: frame, MaxConns: maxClients})
	srv.Handle("scale", s.scale)
	srv.Handle("stats", s.stats)
	sigma.Started(ctx)
	sctx, stop := context.WithCancel(ctx)
	go func() {
		_, grace, err := sigma.WaitKill(ctx)
		if err == nil {
			s.drain(grace)
		}
		stop()
	}()
	err = rpc.Serve(sctx, lis, srv)
	if cerr := s.n.RemoveAll(ctx, s.dir); err == nil && api.KindOf(cerr) != api.NotFound {
		err = cerr
	}
	if err != nil {
		job.Leave(1, err.Error(), nil)
	}
	job.Leave(0, "", nil)
}

// open makes the scratch directory and the endpoint, and publishes it.
func (s *server) open(ctx context.Context) (*sigma.Listener, error) {
	here, err := s.n.AbsPath(ctx, "/ux/~local")
	if err != nil {
		return nil, err
	}
	s.dir = here + "/img-" + strings.ToLower(rand.Text()[:10])
	if err := s.n.MkdirAll(ctx, s.dir, 0o775); err != nil {
		return nil, err
	}
	if _, s.Parallel, err = job.Parallel(ctx, s.Parallel); err != nil {
		return nil, err
	}
	s.slots = make(chan struct{}, s.Parallel)
	lis, ep, err := sigma.NewEndpoint(ctx)
	if err != nil {
		return nil, err
	}
	return lis, sigma.Publish(ctx, s.Path, ep)
}

// drain refuses what comes and waits for what is there, most of the grace.
func (s *server) drain(grace time.Duration) {
	s.stopping.Store(true)
	for end := time.Now().Add(grace * 3 / 4); s.inside.Load() > 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
}

// enter waits for a worker's place, unless too many wait already.
func (s *server) enter(ctx context.Context) (leave func(), err error) {
	if s.stopping.Load() {
		return nil, api.E(api.Unavailable, "scale", s.Path, "the service is stopping")
	}
	if s.inside.Add(1) > int64(s.Parallel+s.Queue) {
		s.inside.Add(-1)
		s.busy.Add(1)
		return nil, api.E(api.Busy, "scale", s.Path, "%d images are being scaled and %d wait, which is all that it takes; try again later", s.Parallel, s.Queue)
	}
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots; s.inside.Add(-1) }, nil
	case <-ctx.Done():
		s.inside.Add(-1)
		return nil, api.E(api.Deadline, "scale", s.Path, "it has waited behind others until its time ran out")
	}
}

// scale serves one image.
func (s *server) scale(ctx context.Context, r *rpc.Request) ([]byte, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	res, data, err := s.one(ctx, r.Body)
	if err != nil {
		s.failed.Add(1)
		return nil, err
	}
	s.done.Add(1)
	return pack(res, data)
}

func (s *server) one(ctx context.Context, body []byte) (res Result, out []byte, err error) {
	var q Request
	data, err := unpack(body, &q)
	if err != nil {
		return res, nil, err
	}
	if err := q.normalize(len(data)); err != nil {
		return res, nil, err
	}
	w := work{Options: q.Options, In: q.In, Out: q.Out, Exact: true, Limit: s.Limit}
	w.Memory = s.Memory
	files := s.n // without a deadline of the caller's
	temp := fmt.Sprintf("%s/%d", s.dir, s.number.Add(1))
	if q.In == "" {
		w.In = temp + ".in"
		defer files.Remove(context.WithoutCancel(ctx), w.In)
		if _, err := files.PutFile(ctx, w.In, data); err != nil {
			return res, nil, err
		}
	}
	if q.Out == "" {
		w.Out = temp + ".out"
		defer files.Remove(context.WithoutCancel(ctx), w.Out)
	}
	if res, err = s.try(ctx, w, q.name()); err != nil || q.Out != "" {
		return res, nil, err
	}
	res.Out = ""
	out, _, err = files.GetFile(ctx, w.Out)
	if err == nil && len(out) > MaxImage {
		err = api.E(api.TooLarge, "scale", q.name(), "a result of %d bytes; at most %d come back, have it written to a path", len(out), MaxImage)
	}
	return res, out, err
}

// try runs workers until one has a verdict on the image.
func (s *server) try(ctx context.Context, w work, name string) (Result, error) {
	for failures, returns := 0, 0; ; {
		w.Attempt++
		v, r, err := judge(job.Run(ctx, workerDesc(s.Program, w), s.Limit, nil), s.Limit)
		r.Name, r.Attempts = name, w.Attempt
		switch v {
		case made:
			return r.Result, nil
		case refused:
			return r.Result, api.E(api.Invalid, "scale", name, "%s", r.Error)
		case hopeless:
			return r.Result, err
		case failed:
			failures++
		case back:
			returns++
		}
		if failures >= s.Tries || returns >= job.MaxReturns {
			return r.Result, api.E(api.Unavailable, "scale", name, "%v (tried %d times)", err, w.Attempt)
		}
		select {
		case <-ctx.Done():
			return r.Result, ctx.Err()
		case <-time.After(job.Delay(returns)):
		}
	}
}

// stats says what the service did so far.
func (s *server) stats(context.Context, *rpc.Request) ([]byte, error) {
	in := s.inside.Load()
	st := Stats{Running: min(in, int64(s.Parallel)), Waiting: max(in-int64(s.Parallel), 0), Done: s.done.Load(), Failed: s.failed.Load(), Busy: s.busy.Load(), Parallel: s.Parallel, Queue: s.Queue}
	return json.Marshal(st)
}
