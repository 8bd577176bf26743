package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sigmaos/bench/lab"
)

// goEnv is the environment of every benchproc, proc or not: one thread runs
// their one goroutine of interest, so that how the Go scheduler spreads work is
// not what is compared.
var goEnv = []string{"GOMAXPROCS=1"}

// plain is a process of apps/benchproc that is no proc.
type plain struct {
	cmd *exec.Cmd
	out *bufio.Reader
	err bytes.Buffer
}

// startPlain starts one in a space; it ends with ctx. Its descriptor 3 is
// extra, where that is not nil.
func startPlain(ctx context.Context, in *lab.Space, extra *os.File, env []string, program string, args ...string) (*plain, error) {
	p := &plain{cmd: exec.CommandContext(ctx, program, args...)}
	p.cmd.Env = env
	p.cmd.Stderr = &p.err
	if extra != nil {
		p.cmd.ExtraFiles = []*os.File{extra}
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := in.Start(p.cmd, syscall.SIGKILL); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", program, err)
	}
	return p, nil
}

// line reads one line of its output.
func (p *plain) line() (string, error) {
	s, err := p.out.ReadString('\n')
	if err != nil {
		p.kill()
		return "", fmt.Errorf("bench: %v ended: %s", p.cmd.Args, strings.TrimSpace(p.err.String()))
	}
	return strings.TrimSpace(s), nil
}

// rest is what it prints until it ends well.
func (p *plain) rest() ([]byte, error) {
	b, err := io.ReadAll(p.out)
	if err = errors.Join(err, p.cmd.Wait()); err != nil {
		return nil, fmt.Errorf("bench: %v: %w: %s", p.cmd.Args, err, strings.TrimSpace(p.err.String()))
	}
	return b, nil
}

func (p *plain) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// The two ways in which a plain process reads and writes: with the same Conn as
// a proc, or with Go's own.
const (
	sameConn = "sigma-"
	goConn   = ""
)

// tcpLink is TCP between two plain processes.
type tcpLink struct {
	conn           string   // sameConn or goConn
	cells          confiner // nil: its processes are where the bench is
	program        string
	server, client *lab.Space
	addr           string // of the server
}

func (l tcpLink) open(ctx context.Context, plan []string) (*session, error) {
	srv, err := startPlain(ctx, l.server, nil, goEnv, l.program, "raw", "serve", l.conn+"tcp", l.addr+":0")
	if err != nil {
		return nil, err
	}
	addr, err := srv.line()
	if err != nil {
		return nil, err
	}
	return plainClient(ctx, l.cells, l.client, nil, srv, l.program, append([]string{"raw", "run", l.conn + "tcp", addr}, plan...))
}

// plainClient completes a session whose server runs; it owns srv.
func plainClient(ctx context.Context, c confiner, in *lab.Space, extra *os.File, srv *plain, program string, args []string) (*session, error) {
	cli, err := startPlain(ctx, in, extra, goEnv, program, args...)
	if err != nil {
		srv.kill()
		return nil, err
	}
	empty := func() error { return nil }
	s := &session{
		server: srv.cmd.Process.Pid, client: cli.cmd.Process.Pid,
		result: func(context.Context) ([]byte, error) { return cli.rest() },
		close:  func() { cli.kill(); srv.kill(); empty() },
	}
	if _, err = cli.line(); err == nil && c != nil { // "ready"
		empty, err = c.confine(s.server, s.client)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// pairLink is a socketpair between two plain processes, as they inherit one.
type pairLink struct {
	conn    string
	cells   confiner
	program string
	here    *lab.Space
}

func (l pairLink) open(ctx context.Context, plan []string) (*session, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("bench: socketpair: %w", err)
	}
	a, b := os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "client")
	defer a.Close()
	defer b.Close()
	srv, err := startPlain(ctx, l.here, a, goEnv, l.program, "raw", "serve", l.conn+"fd", "3")
	if err != nil {
		return nil, err
	}
	if _, err := srv.line(); err != nil {
		return nil, err
	}
	return plainClient(ctx, l.cells, l.here, b, srv, l.program, append([]string{"raw", "run", l.conn + "fd", "3"}, plan...))
}
