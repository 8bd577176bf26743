package named

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sigmaos/internal/splice"
)

// etcd's peers know each other by name: the peer of node n2 is at
// unix://n2.etcd:1, on every node. etcd dials that as a path relative to the
// process's directory, where a Mesh listens on behalf of n2 and carries the
// connection there, over the nodes' own mTLS. So peers' addresses may change and
// keys may be replaced without etcd noticing, no port of etcd's is open
// anywhere, and nobody but root can reach the sockets.
//
// The price is that a process which hosts one of several peers has to run in its
// run directory. main sees to that; [StartPeer] checks it.

// Mesh carries the connections between this node's etcd and other nodes'.
type Mesh struct {
	self string
	dir  string
	dial func(ctx context.Context, node string) (net.Conn, error)
	log  *slog.Logger

	ctx    context.Context // of connections
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	ways   map[string]*net.UnixListener // by node
}

// NewMesh makes one for a node's run directory. dial reaches the etcd peer of
// another node.
func NewMesh(self, runDir string, dial func(ctx context.Context, node string) (net.Conn, error), log *slog.Logger) *Mesh {
	m := &Mesh{self: self, dir: runDir, dial: dial, log: log, ways: make(map[string]*net.UnixListener)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// peerURL is where etcd believes that a node's peer is.
func peerURL(node string) string { return "unix://" + wayName(node) }

func wayName(node string) string { return node + ".etcd:1" }

// nodeOf is the node whose peer is at url.
func nodeOf(url string) (string, bool) {
	s, ok := strings.CutPrefix(url, "unix://")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, ".etcd:1")
}

// at reports whether the process runs where etcd will look for the sockets.
func (m *Mesh) at() error {
	here, err := os.Stat(".")
	if err != nil {
		return fmt.Errorf("named: %w", err)
	}
	want, err := os.Stat(m.dir)
	if err != nil {
		return fmt.Errorf("named: %w", err)
	}
	if !os.SameFile(here, want) {
		return fmt.Errorf("named: a process with one of several etcd peers must run in its run directory %s", m.dir)
	}
	return nil
}

// reach makes the peers of these nodes, and of no others, reachable.
func (m *Mesh) reach(nodes []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return net.ErrClosed
	}
	want := make(map[string]bool)
	var errs []error
	for _, n := range nodes {
		if n == m.self {
			continue
		}
		want[n] = true
		if m.ways[n] == nil {
			errs = append(errs, m.openLocked(n))
		}
	}
	for n, l := range m.ways {
		if !want[n] {
			l.Close()
			delete(m.ways, n)
		}
	}
	return errors.Join(errs...)
}

// openLocked listens on behalf of a node. The path is short: it is that of the
// process's directory, whatever the run directory's length.
func (m *Mesh) openLocked(node string) error {
	os.Remove(filepath.Join(m.dir, wayName(node))) // of a run that was killed
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: wayName(node), Net: "unix"})
	if err != nil {
		return fmt.Errorf("named: %w", err)
	}
	m.ways[node] = l
	m.wg.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(50 * time.Millisecond) // out of descriptors: do not spin
				continue
			}
			m.wg.Go(func() { m.carry(node, c) })
		}
	})
	return nil
}

// meshDial bounds the way to another node.
const meshDial = 3 * time.Second

func (m *Mesh) carry(node string, c net.Conn) {
	defer c.Close()
	ctx, cancel := context.WithTimeout(m.ctx, meshDial)
	far, err := m.dial(ctx, node)
	cancel()
	if err != nil {
		m.log.Debug("the etcd peer of a node cannot be reached", "peer", node, "err", err)
		return
	}
	splice.Join(m.ctx, c, far)
}

// Close ends all ways and what goes over them.
func (m *Mesh) Close() error {
	m.mu.Lock()
	m.closed = true
	for n, l := range m.ways {
		l.Close()
		delete(m.ways, n)
	}
	m.mu.Unlock()
	m.cancel()
	m.wg.Wait()
	return nil
}
