// Package local runs the S3 server that a fresh cluster brings: versitygw over a
// directory, as a process of its own (naming/s3/store).
//
// The process is there while it is used: [Server.Use] starts it, and it is ended
// when nobody asked for a while. It listens on a Unix socket in a directory that
// root alone may enter, ends when its standard input does (so with sigmad, however
// that ends), and is held by Landlock to its own directories. One that dies is
// started again at the next use. Its data outlive it.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/internal/child"
	"sigmaos/naming/s3"
)

// Config of a Server.
type Config struct {
	Binary string // the program; "" says that there is none
	Dir    string // of the buckets, on a file system with extended attributes; made if not there
	RunDir string // of the socket; made if not there
	Access string // the one key that it takes
	Secret string

	Quota  int64         // bytes of the buckets of one prefix; default 16 GiB
	Idle   time.Duration // unused for so long it is ended; default 5 min
	Start  time.Duration // it answers within that, or is broken; default 20 s
	Logger *slog.Logger
}

// Server is the process, when it runs.
type Server struct {
	cfg  Config
	stop chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	used   time.Time
	p      *child.Process

	room   sync.Mutex
	usages map[string]*usage // by prefix
}

// New makes a Server; nothing is started yet. The caller closes it.
func New(cfg Config) *Server {
	if cfg.Quota == 0 {
		cfg.Quota = 16 << 30
	}
	if cfg.Idle == 0 {
		cfg.Idle = 5 * time.Minute
	}
	if cfg.Start == 0 {
		cfg.Start = 20 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, stop: make(chan struct{}), usages: make(map[string]*usage)}
	s.wg.Go(s.endIdle)
	return s
}

const region = "us-east-1"

func (s *Server) socket() string { return filepath.Join(s.cfg.RunDir, "socket") }

// Use returns where the server is, which is started first where need be.
func (s *Server) Use(ctx context.Context) (s3.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s3.Store{}, api.E(api.Unavailable, "s3", "", "this node is stopping")
	}
	s.used = time.Now()
	if s.p != nil {
		if how, ok := s.p.Ended(); ok {
			s.cfg.Logger.Warn("the cluster's S3 server has ended; it is started again", "state", how)
			s.p = nil
		}
	}
	if s.p == nil {
		p, err := s.start()
		if err != nil {
			s.cfg.Logger.Error("the cluster's S3 server does not start", "err", err)
			return s3.Store{}, err
		}
		s.p = p
	}
	return s3.Store{Endpoint: "unix:" + s.socket(), Region: region, AccessKey: s.cfg.Access, Secret: s.cfg.Secret}, ctx.Err()
}

func (s *Server) start() (*child.Process, error) {
	fail := func(format string, args ...any) error { return api.E(api.Unavailable, "s3", "", format, args...) }
	if s.cfg.Binary == "" {
		return nil, api.E(api.Unsupported, "s3", "", "this cluster brings no S3 server: bin/versitygw is not beside sigmad (make builds it); or give the realm a store with sigmactl realm set-s3")
	}
	for _, d := range []string{s.cfg.Dir, s.cfg.RunDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fail("%v", err)
		}
	}
	os.Remove(s.socket())
	s.removeStale()
	cmd := exec.Command(s.cfg.Binary)
	cmd.Env = []string{"HOME=/", "TMPDIR=" + s.cfg.RunDir, "GOMEMLIMIT=256MiB"}
	settings := map[string]string{
		"dir": s.cfg.Dir, "socket": s.socket(), "region": region, "access": s.cfg.Access, "secret": s.cfg.Secret,
	}
	p, err := child.Start(cmd, settings, func(line string) { s.cfg.Logger.Warn("the cluster's S3 server", "says", line) }, func() {})
	if err != nil {
		return nil, fail("starting the cluster's S3 server: %v", err)
	}
	if err := s.answers(p); err != nil {
		p.End()
		return nil, fail("the cluster's S3 server: %v", err)
	}
	return p, nil
}

// answers waits until the process listens.
func (s *Server) answers(p *child.Process) error {
	for end := time.Now().Add(s.cfg.Start); ; {
		c, err := net.DialTimeout("unix", s.socket(), time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("it does not listen within %v", s.cfg.Start)
		}
		select {
		case <-p.Done():
			return errors.New("it ended; its log says why")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *Server) endIdle() {
	tick := time.NewTicker(min(s.cfg.Idle/4, 15*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if p := s.p; p != nil && time.Since(s.used) > s.cfg.Idle {
			s.p = nil
			p.End()
		}
		s.mu.Unlock()
	}
}

// PID of the process; 0 when none runs.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.p == nil {
		return 0
	}
	return s.p.PID()
}

// Close ends the process.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.p != nil {
		s.p.End()
		s.p = nil
	}
	s.mu.Unlock()
	close(s.stop)
	s.wg.Wait()
	os.Remove(s.socket())
	os.Remove(s.cfg.RunDir) // unless something else is in it
	return nil
}

// RemoveAll removes every bucket whose name begins with prefix, with all in it:
// those of a realm that is gone.
func (s *Server) RemoveAll(prefix string) error {
	if len(prefix) < 3 {
		return api.E(api.Invalid, "s3", prefix, "too short to be a realm's")
	}
	s.room.Lock()
	delete(s.usages, prefix)
	s.room.Unlock()
	list, err := filepath.Glob(filepath.Join(s.cfg.Dir, prefix+"*"))
	for _, d := range list {
		if rerr := os.RemoveAll(d); err == nil {
			err = rerr
		}
	}
	return err
}
