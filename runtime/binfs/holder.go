package binfs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// ProcessName is argv[0] of the process that serves the mount.
const ProcessName = "sigmad-binfs"

const readyTime = 10 * time.Second

// Config of a Holder.
type Config struct {
	StoreDir string
	RunDir   string // the mounts are below it, in the holder's namespace alone
	Exe      string // this program; it must call Main when started as ProcessName
	Logger   *slog.Logger
	Chain    *Chain // where programs come from that the disk lacks; nil: nowhere
	Quota    int64  // of a realm's cache of those, bytes; 0: none
}

// settings is what the serving process is told.
type settings struct {
	Store string `json:"store"`
	Run   string `json:"run"`
	Ask   bool   `json:"ask"` // descriptor 4 leads to sigmad's Chain
	Quota int64  `json:"quota"`
}

// question is what the serving process is asked while it runs.
type question struct {
	Cold   bool   `json:"cold,omitempty"` // how Realm's program Digest came here, "": all of them; else for the counts
	Realm  string `json:"realm,omitempty"`
	Digest string `json:"digest,omitempty"`
}

type ready struct {
	Error string `json:"error,omitempty"`
}

// Stats counts what the kernel asked of the mount, and what it was given
// unasked.
type Stats struct {
	Lookups int64 `json:"lookups"`
	Attrs   int64 `json:"attrs"`
	Opens   int64 `json:"opens"`
	Reads   int64 `json:"reads"`
	Stored  int64 `json:"stored"` // chunks
}

// Holder is the running process that serves FUSE in a mount namespace of its
// own. When it ends, or sigmad does, in any way, its mounts are gone.
type Holder struct {
	cmd   *exec.Cmd
	ns    *os.File
	conn  *os.File
	run   string
	done  chan struct{}
	err   error
	asked chan struct{} // closed when its own questions are answered no more; nil without a Chain

	mu  sync.Mutex // one question at a time
	dec *json.Decoder
}

// Start runs the process and waits until its mounts are there.
func Start(ctx context.Context, cfg Config) (*Holder, error) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return nil, fmt.Errorf("binfs: no /dev/fuse: load it with modprobe fuse (a container needs --privileged or --device /dev/fuse): %w", err)
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("binfs: %w", err)
	}
	unix.SetNonblock(p[0], true)
	ours, theirs := os.NewFile(uintptr(p[0]), "binfs"), os.NewFile(uintptr(p[1]), "binfs")
	defer theirs.Close()
	stderr, w, err := os.Pipe()
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("binfs: %w", err)
	}
	extra := []*os.File{theirs}
	var asks *os.File
	if cfg.Chain != nil {
		q, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			ours.Close()
			stderr.Close()
			w.Close()
			return nil, fmt.Errorf("binfs: %w", err)
		}
		asks = os.NewFile(uintptr(q[0]), "binfs-asks")
		end := os.NewFile(uintptr(q[1]), "binfs-asks")
		defer end.Close()
		extra = append(extra, end)
	}
	cmd := exec.Command(cfg.Exe)
	cmd.Args = []string{ProcessName}
	cmd.ExtraFiles = extra
	cmd.Stderr = w
	cmd.Env = []string{"GOGC=50", "GODEBUG=madvdontneed=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		ours.Close()
		stderr.Close()
		if asks != nil {
			asks.Close()
		}
		return nil, fmt.Errorf("binfs: starting its process: %w", err)
	}
	h := &Holder{cmd: cmd, conn: ours, run: cfg.RunDir, done: make(chan struct{}), dec: json.NewDecoder(ours)}
	actx, stop := context.WithCancel(context.Background())
	if asks != nil {
		h.asked = make(chan struct{})
		go func() {
			defer close(h.asked)
			if err := serveAsk(actx, asks, cfg.Chain); err != nil {
				cfg.Logger.Debug("binfs asks no more", "err", err)
			}
		}()
	}
	go func() {
		defer stop()
		defer stderr.Close()
		sc := bufio.NewScanner(stderr)
		for sc.Scan() {
			cfg.Logger.Warn("binfs says", "line", sc.Text())
		}
		h.err = cmd.Wait()
		close(h.done)
	}()
	if err := h.setUp(ctx, cfg); err != nil {
		h.Close()
		return nil, fmt.Errorf("binfs: %w", err)
	}
	return h, nil
}

func (h *Holder) setUp(ctx context.Context, cfg Config) error {
	limit := time.Now().Add(readyTime)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	h.conn.SetDeadline(limit)
	defer h.conn.SetDeadline(time.Time{})
	if err := json.NewEncoder(h.conn).Encode(settings{Store: cfg.StoreDir, Run: cfg.RunDir, Ask: cfg.Chain != nil, Quota: cfg.Quota}); err != nil {
		return fmt.Errorf("telling the mounts' process what to serve: %w", err)
	}
	var r ready
	if err := h.dec.Decode(&r); err != nil {
		return fmt.Errorf("the mounts' process did not get ready: %w", err)
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", h.cmd.Process.Pid))
	h.ns = ns
	return err
}

// MountNS is the namespace in which Binfs and Jail are; the Holder keeps it.
func (h *Holder) MountNS() *os.File { return h.ns }

// Binfs is where the realms' folders are mounted.
func (h *Holder) Binfs() string { return filepath.Join(h.run, "mnt", "binfs") }

// Jail is the template of the slots' root.
func (h *Holder) Jail() string { return filepath.Join(h.run, "mnt", "jail") }

// Pid of the serving process.
func (h *Holder) Pid() int { return h.cmd.Process.Pid }

// Done is closed when the process has ended; Err says how.
func (h *Holder) Done() <-chan struct{} { return h.done }

// Err is why it ended; only after Done.
func (h *Holder) Err() error { return h.err }

// Stats asks the process for its counts.
func (h *Holder) Stats(ctx context.Context) (s Stats, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d, ok := ctx.Deadline(); ok {
		h.conn.SetDeadline(d)
		defer h.conn.SetDeadline(time.Time{})
	}
	if err := json.NewEncoder(h.conn).Encode(question{}); err != nil {
		return s, fmt.Errorf("binfs: %w", err)
	}
	return s, h.dec.Decode(&s)
}

// Cold tells how a program came to this node since the mount is there; nil
// where nobody has started it.
func (h *Holder) Cold(ctx context.Context, realm, digest string) (c *Cold, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d, ok := ctx.Deadline(); ok {
		h.conn.SetDeadline(d)
		defer h.conn.SetDeadline(time.Time{})
	}
	if err := json.NewEncoder(h.conn).Encode(question{Cold: true, Realm: realm, Digest: digest}); err != nil {
		return nil, fmt.Errorf("binfs: %w", err)
	}
	return c, h.dec.Decode(&c)
}

// AllCold is Cold of all programs of a realm that were started, by digest.
func (h *Holder) AllCold(ctx context.Context, realm string) (m map[string]Cold, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d, ok := ctx.Deadline(); ok {
		h.conn.SetDeadline(d)
		defer h.conn.SetDeadline(time.Time{})
	}
	if err := json.NewEncoder(h.conn).Encode(question{Cold: true, Realm: realm}); err != nil {
		return nil, fmt.Errorf("binfs: %w", err)
	}
	return m, h.dec.Decode(&m)
}

// Abort ends a process that does not answer. That breaks the FUSE connection, so
// that nothing hangs in the kernel on it.
func (h *Holder) Abort() error { return h.cmd.Process.Kill() }

// Close ends the process; it goes by itself when its socket ends.
func (h *Holder) Close() error {
	h.conn.Close()
	select {
	case <-h.done:
	case <-time.After(2 * time.Second):
		h.cmd.Process.Kill()
		<-h.done
	}
	if h.asked != nil {
		<-h.asked
	}
	if h.ns != nil {
		h.ns.Close()
	}
	return nil
}

func isNotExist(err error) bool {
	return errors.Is(err, os.ErrNotExist) || api.KindOf(err) == api.NotFound
}

// mountPoints makes the directories below run.
func mountPoints(run string) (binfs, jail string, err error) {
	binfs, jail = filepath.Join(run, "mnt", "binfs"), filepath.Join(run, "mnt", "jail")
	if strings.ContainsAny(run, ",\\\n") {
		return "", "", fmt.Errorf("the run directory %q has a character that mount options cannot take", run)
	}
	for _, d := range []string{binfs, jail} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", "", err
		}
	}
	return binfs, jail, nil
}
