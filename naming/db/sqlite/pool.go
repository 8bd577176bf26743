package sqlite

import (
	"context"
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
)

// Config of a Pool.
type Config struct {
	Exe    string // this program; it must call Main when started as ProcessName
	Dir    string // of the realms' directories; made if not there
	RunDir string // of the sockets; made if not there

	Disk   int64         // bytes of one realm's file; default 1 GiB
	Memory int64         // of one process; default 256 MiB
	Idle   time.Duration // unused for so long a process is ended; default 1 min
	Logger *slog.Logger
}

// Pool is the processes of those realms that use their databases.
type Pool struct {
	cfg  Config
	stop chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	n      int // processes started
	realms map[string]*process
}

// process is one realm's.
type process struct {
	*child.Process
	socket string
	users  int       // connections
	used   time.Time // when the last one ended
}

// NewPool makes a pool; nothing is started yet. The caller closes it.
func NewPool(cfg Config) *Pool {
	if cfg.Disk == 0 {
		cfg.Disk = 1 << 30
	}
	if cfg.Memory == 0 {
		cfg.Memory = 256 << 20
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{cfg: cfg, stop: make(chan struct{}), realms: make(map[string]*process)}
	p.wg.Go(p.endIdle)
	return p
}

// Dial connects with a realm's process, which is started first where need be.
// release must be called when the connection has ended.
func (p *Pool) Dial(ctx context.Context, realm string) (_ net.Conn, release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, api.E(api.Unavailable, "db", "", "this node is stopping")
	}
	r := p.realms[realm]
	if r != nil {
		if how, ok := r.Ended(); ok {
			p.cfg.Logger.Warn("a realm's database process has ended; it is started again", "realm", realm, "state", how)
			r = nil
		}
	}
	if r == nil {
		if r, err = p.start(realm); err != nil {
			p.cfg.Logger.Error("a realm's database does not start", "realm", realm, "err", err)
			return nil, nil, api.E(api.Unavailable, "db", "", "the realm's database does not start; sigmad's log says why")
		}
		p.realms[realm] = r
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", r.socket)
	if err != nil {
		return nil, nil, api.E(api.Unavailable, "db", "", "the realm's database: %v", err)
	}
	r.users++
	return c, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		r.users, r.used = r.users-1, time.Now()
	}, nil
}

func (p *Pool) start(realm string) (_ *process, err error) {
	dir := filepath.Join(p.cfg.Dir, realm)
	for _, d := range []string{dir, p.cfg.RunDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	// The socket is made here: connections wait in it until the process takes them.
	// Each process has its own, for the one before may not have ended yet.
	p.n++
	socket := filepath.Join(p.cfg.RunDir, fmt.Sprint(realm, ".", p.n))
	os.Remove(socket) // of a run that was killed
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(p.cfg.Exe)
	cmd.Args = []string{ProcessName}
	cmd.Env = []string{"TMPDIR=" + dir, "SQLITE_TMPDIR=" + dir, "GOGC=50"}
	cmd.ExtraFiles = []*os.File{file}
	c, err := child.Start(cmd, settings{realm, dir, p.cfg.Disk, p.cfg.Memory}, func(line string) {
		p.cfg.Logger.Warn("a realm's database", "realm", realm, "says", line)
	}, func() { os.Remove(socket) })
	if err != nil {
		os.Remove(socket)
		return nil, err
	}
	return &process{Process: c, socket: socket, used: time.Now()}, nil
}

func (p *Pool) endIdle() {
	tick := time.NewTicker(max(p.cfg.Idle/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		for _, r := range p.takeIdle() { // not under the lock: one that hangs is its own realm's trouble
			r.End()
		}
	}
}

func (p *Pool) takeIdle() (out []*process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for realm, r := range p.realms {
		if _, over := r.Ended(); over || r.users == 0 && time.Since(r.used) > p.cfg.Idle {
			delete(p.realms, realm)
			out = append(out, r)
		}
	}
	return out
}

// PIDs of the processes, by realm.
func (p *Pool) PIDs() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]int)
	for realm, r := range p.realms {
		out[realm] = r.PID()
	}
	return out
}

// Remove ends a realm's process and removes its database.
func (p *Pool) Remove(realm string) error {
	p.mu.Lock()
	r := p.realms[realm]
	delete(p.realms, realm)
	p.mu.Unlock()
	if r != nil {
		r.End()
	}
	return os.RemoveAll(filepath.Join(p.cfg.Dir, realm))
}

// Realms lists those that have a database here.
func (p *Pool) Realms() (out []string) {
	list, _ := os.ReadDir(p.cfg.Dir)
	for _, d := range list {
		out = append(out, d.Name())
	}
	return out
}

// Close ends all processes.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	list := p.realms
	p.realms = nil
	p.mu.Unlock()
	for _, r := range list {
		r.Ask() // all at once
	}
	for _, r := range list {
		r.End()
	}
	close(p.stop)
	p.wg.Wait()
	os.Remove(p.cfg.RunDir)
	return nil
}
