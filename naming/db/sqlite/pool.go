package sqlite

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sigmaos/api"
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
	realms map[string]*process
}

// process is one realm's.
type process struct {
	cmd    *exec.Cmd
	in     io.Closer
	socket string
	done   chan struct{} // closed when it has ended
	users  int           // connections
	used   time.Time     // when the last one ended
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
	if r != nil && r.ended() {
		p.cfg.Logger.Warn("a realm's database process has ended; it is started again", "realm", realm, "state", r.cmd.ProcessState.String())
		r = nil
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

func (r *process) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (p *Pool) start(realm string) (_ *process, err error) {
	dir := filepath.Join(p.cfg.Dir, realm)
	for _, d := range []string{dir, p.cfg.RunDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	// The socket is made here: connections wait in it until the process takes them.
	socket := filepath.Join(p.cfg.RunDir, realm)
	os.Remove(socket)
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	said, w, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	cmd.Stderr = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		in.Close()
		said.Close()
		return nil, err
	}
	r := &process{cmd: cmd, in: in, socket: socket, done: make(chan struct{}), used: time.Now()}
	p.wg.Go(func() { p.log(realm, said) })
	p.wg.Go(func() {
		defer close(r.done)
		cmd.Wait()
		os.Remove(socket)
	})
	if err := json.NewEncoder(in).Encode(settings{realm, dir, p.cfg.Disk, p.cfg.Memory}); err != nil {
		r.end()
		return nil, fmt.Errorf("telling it what to do: %w", err)
	}
	return r, nil
}

// log passes on what a process says, a bounded line at a time.
func (p *Pool) log(realm string, r io.ReadCloser) {
	defer r.Close()
	in := bufio.NewReaderSize(r, 4096)
	for {
		line, _, err := in.ReadLine()
		if err != nil {
			return
		}
		p.cfg.Logger.Warn("a realm's database", "realm", realm, "says", string(line))
	}
}

// end has a process end, and waits.
func (r *process) end() {
	r.in.Close()
	select {
	case <-r.done:
	case <-time.After(5 * time.Second):
		r.cmd.Process.Kill()
		<-r.done
	}
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
		p.mu.Lock()
		for realm, r := range p.realms {
			if r.users == 0 && time.Since(r.used) > p.cfg.Idle || r.ended() {
				delete(p.realms, realm)
				r.end()
			}
		}
		p.mu.Unlock()
	}
}

// PIDs of the processes, by realm.
func (p *Pool) PIDs() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]int)
	for realm, r := range p.realms {
		out[realm] = r.cmd.Process.Pid
	}
	return out
}

// Remove ends a realm's process and removes its database.
func (p *Pool) Remove(realm string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.realms[realm]; r != nil {
		delete(p.realms, realm)
		r.end()
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
	for _, r := range p.realms {
		r.in.Close() // all at once
	}
	for _, r := range p.realms {
		r.end()
	}
	p.mu.Unlock()
	close(p.stop)
	p.wg.Wait()
	os.Remove(p.cfg.RunDir)
	return nil
}
