package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/internal/lasting"
	"sigmaos/net/pki"
	"sigmaos/net/port/quiet"
)

// The first byte of a connection.
const (
	FirstTLS   = 0x16 // a handshake record
	FirstSetup = 0xCF // a connection between procs
)

// welcome is what the accepting side sends once it knows the other one; expelled
// what it sends instead to one that the cluster has removed.
const (
	welcome  = 1
	expelled = 2
)

// Config of a node's port.
type Config struct {
	Addr     string        // HOST:PORT to listen on
	Identity *pki.Identity // of the node; may get its certificate later
	Logger   *slog.Logger
	Clock    clock.Clock // default: the machine's. Deadlines of connections are the kernel's

	Patience         time.Duration // from accept until the other side is known; default 5 s
	Pending          int           // connections of unknown ones at a time; default 512
	PendingPerSource int           // of them from one address; default 64
	Open             int           // connections of nodes at a time; default 4,096

	// Lost is told, once, when the socket has ended and none was to be had in its
	// place for LostAfter (default 10 s): nobody reaches this node any more.
	Lost      func(error)
	LostAfter time.Duration
}

func (c *Config) fill() error {
	if c.Identity == nil || c.Logger == nil {
		return api.E(api.Internal, "listen", c.Addr, "Identity and Logger must be set")
	}
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	if c.LostAfter == 0 {
		c.LostAfter = 10 * time.Second
	}
	if c.Lost == nil {
		c.Lost = func(error) {}
	}
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{{"Pending", &c.Pending, 512}, {"PendingPerSource", &c.PendingPerSource, 64}, {"Open", &c.Open, 4096}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 {
			return api.E(api.Invalid, "listen", c.Addr, "%s is %d; want 1 or more, or 0 for the default", f.name, *f.v)
		}
	}
	if c.Patience < 0 {
		return api.E(api.Invalid, "listen", c.Addr, "Patience is %v; want more than 0", c.Patience)
	}
	return nil
}

// Port is a listening port. Close it.
type Port struct {
	cfg Config
	log *slog.Logger // strangers can make it write
	lis *lasting.Listener
	tls *tls.Config

	ctx    context.Context // of the handlers
	cancel context.CancelFunc
	wg     sync.WaitGroup // the accepting goroutine and one for each connection
	gate   *gate
	open   openSet
	spare  *os.File // of the accepting goroutine

	mu       sync.RWMutex
	handlers map[string]Handler
	setup    SetupHandler
	join     *joinServer
	removed  func(pki.Peer) bool
}

// Listen opens the port and accepts at once; what no service is registered for
// yet is refused.
func Listen(cfg Config) (*Port, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	lc.SetMultipathTCP(false) // procs get these sockets: they are to be plain TCP
	lis, err := lasting.Listen(lc, cfg.Addr)
	if err != nil {
		hint := "want HOST:PORT of this machine"
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = "is another sigmad using the port?"
		}
		return nil, api.E(api.Unavailable, "listen", cfg.Addr, "%v; %s", errors.Unwrap(err), hint)
	}
	p := &Port{
		cfg:      cfg,
		log:      quiet.New(cfg.Logger, cfg.Clock),
		lis:      lis,
		gate:     &gate{max: cfg.Pending, perSource: cfg.PendingPerSource},
		open:     openSet{max: cfg.Open},
		spare:    openSpare(),
		handlers: make(map[string]Handler),
	}
	p.tls = &tls.Config{GetConfigForClient: p.configFor}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Add(1)
	go p.accept()
	return p, nil
}

// keepAlive notices within half a minute that a machine is gone, where nobody
// speaks; services that must know sooner have heartbeats.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Addr is the address listened on, with the port the kernel chose if it was 0.
func (p *Port) Addr() *net.TCPAddr { return p.lis.Addr().(*net.TCPAddr) }

// Identity is the node's.
func (p *Port) Identity() *pki.Identity { return p.cfg.Identity }

// Close ends the port as the package comment says.
func (p *Port) Close() error {
	p.cancel()
	err := p.lis.Close()
	p.gate.close()
	p.open.close()
	p.wg.Wait()
	if errors.Is(err, net.ErrClosed) { // a second Close
		return nil
	}
	return err
}

// Stats is what a port has and had.
type Stats struct {
	Pending  int    // connections of unknown ones
	Open     int    // connections of nodes
	Accepted uint64 // since Listen
	Evicted  uint64 // strangers who lost their place to later ones
	Shed     uint64 // closed at once for want of descriptors
}

// Stats of this moment.
func (p *Port) Stats() Stats {
	s := p.gate.stats()
	s.Open = p.open.len()
	return s
}

func (s Stats) String() string {
	return fmt.Sprintf("pending %d, open %d, accepted %d, evicted %d, shed %d", s.Pending, s.Open, s.Accepted, s.Evicted, s.Shed)
}
