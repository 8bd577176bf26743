package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/internal/lasting"
	"sigmaos/net/control"
	"sigmaos/net/crowd"
	"sigmaos/net/port/quiet"
)

// IngressConfig of one address at which load-balancers deliver connections for
// one target.
type IngressConfig struct {
	Addr   string
	From   []netip.Prefix // load-balancers; nobody else is served
	Target api.Target
	// Caller is the realm that the target is of, asked at each connection.
	Caller    func() (api.Caller, error)
	Endpoints control.Endpoints
	// Bring hands a connection to a listener of this node; an error of kind
	// Unsupported says that it is on another.
	Bring  func(ctx context.Context, c api.Caller, t api.Target, fd int) error
	Logger *slog.Logger

	HeaderTime time.Duration // until the PROXY header must be there; default 10 s
	Open       int           // connections without a header, or relayed; default 4,096 or D/16
}

// Ingress takes connections from load-balancers.
type Ingress struct {
	cfg  IngressConfig
	lis  net.Listener
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	open *crowd.Crowd
}

// ParseIngress reads ADDR=REALM:TARGET, where TARGET is a path or an endpoint.
func ParseIngress(s string) (addr, realm string, t api.Target, err error) {
	addr, rest, ok := strings.Cut(s, "=")
	realm, target, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || addr == "" || realm == "" || target == "" {
		return "", "", t, fmt.Errorf("ingress %q: want ADDR:PORT=REALM:PATH", s)
	}
	if strings.HasPrefix(target, "/") {
		t.Path = target
	} else {
		t.Endpoint = api.Endpoint(target)
	}
	return addr, realm, t, nil
}

// ListenIngress starts to take connections.
func ListenIngress(cfg IngressConfig) (*Ingress, error) {
	lis, err := lasting.Listen(net.ListenConfig{}, cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("ingress: %w", err)
	}
	if cfg.HeaderTime == 0 {
		cfg.HeaderTime = 10 * time.Second
	}
	if cfg.Open == 0 {
		cfg.Open = max(1, min(4096, descriptors()/16))
	}
	cfg.Logger = quiet.New(cfg.Logger, clock.Real()) // strangers make it write
	i := &Ingress{cfg: cfg, lis: lis, open: crowd.New(cfg.Open, cfg.Open)}
	i.ctx, i.stop = context.WithCancel(context.Background())
	i.wg.Add(1)
	go i.accept()
	return i, nil
}

// Addr is where it listens.
func (i *Ingress) Addr() string { return i.lis.Addr().String() }

// Close stops it; connections that were handed over go on.
func (i *Ingress) Close() error {
	err := i.lis.Close()
	i.stop()
	i.wg.Wait()
	return err
}

func (i *Ingress) accept() {
	defer i.wg.Done()
	for {
		c, err := i.lis.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err != nil || !contains(i.cfg.From, ap.Addr().Unmap()) {
			i.cfg.Logger.Warn("ingress refused a stranger", "from", c.RemoteAddr())
			c.Close()
			continue
		}
		if !i.open.Enter("") {
			c.Close()
			continue
		}
		i.wg.Add(1)
		go func() {
			defer i.wg.Done()
			defer i.open.Leave("")
			i.serve(c.(*net.TCPConn))
		}()
	}
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// serve reads the header, and not one byte more, and hands the connection on.
func (i *Ingress) serve(c *net.TCPConn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(i.cfg.HeaderTime))
	client, ok, err := readProxy(c)
	if err != nil || !ok {
		return
	}
	c.SetDeadline(time.Time{})
	caller, err := i.cfg.Caller()
	if err != nil {
		i.cfg.Logger.Warn("ingress", "err", err)
		return
	}
	caller.Address = client.String()
	rc, err := c.SyscallConn()
	if err != nil {
		return
	}
	fd := -1
	rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(i.ctx, i.cfg.HeaderTime)
	defer cancel()
	err = i.cfg.Bring(ctx, caller, i.cfg.Target, fd)
	if api.KindOf(err) != api.Unsupported {
		if err != nil {
			i.cfg.Logger.Debug("ingress", "err", err)
		}
		return
	}
	p, err := i.cfg.Endpoints.Dial(ctx, caller, i.cfg.Target)
	if err != nil {
		i.cfg.Logger.Debug("ingress", "err", err)
		return
	}
	proc := os.NewFile(uintptr(p.FD), "relay") // of another node
	defer proc.Close()
	relay(i.ctx, c, nil, proc, patience{5 * time.Minute, 5 * time.Second})
}
