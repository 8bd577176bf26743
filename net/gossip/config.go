package gossip

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/pki"
	"sigmaos/net/port"
)

// ALPN is the name of the streams' service on the port.
const ALPN = "sigma-gossip/1"

// Seed is a node to find the cluster by.
type Seed struct {
	Name string // verified if it is set; "" is any node of the cluster
	Addr string // HOST:PORT
}

// Config of one node's gossip. Name, number and cluster are those of the
// certificate in the port's identity.
type Config struct {
	Port      *port.Port     // stays the caller's; close it after the Gossip
	Advertise netip.AddrPort // where others reach the port, TCP and UDP; default: where it listens
	Boot      uint32
	Info      Info     // without Number, Boot and Leaving
	Secrets   [][]byte // of the cluster, at least 16 bytes each; the first one encrypts, all decrypt
	Seeds     []Seed
	// Notice is the time within which a death is known to all, T_d; default 3 s.
	// All other times follow from it. Below 1 s nodes on a busy machine take each
	// other for dead.
	Notice time.Duration
	Logger *slog.Logger
	Clock  clock.Clock // of the log's bound; default: the machine's

	unreachable func(to netip.AddrPort) bool // for tests: a partition
}

func (c *Config) fill() (pki.Peer, error) {
	bad := func(format string, args ...any) (pki.Peer, error) {
		return pki.Peer{}, api.E(api.Invalid, "gossip", "", format, args...)
	}
	if c.Port == nil || c.Logger == nil {
		return bad("Port and Logger must be set")
	}
	me, ok := c.Port.Identity().Peer()
	if !ok {
		return bad("the node has no certificate yet; it has to join first")
	}
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Notice == 0 {
		c.Notice = 3 * time.Second
	}
	if c.Notice < 100*time.Millisecond || c.Notice > time.Hour {
		return bad("Notice is %v; want 100 ms to 1 h", c.Notice)
	}
	if !c.Advertise.IsValid() {
		c.Advertise = c.Port.Addr().AddrPort()
	}
	c.Advertise = netip.AddrPortFrom(c.Advertise.Addr().Unmap().WithZone(""), c.Advertise.Port())
	if c.Advertise.Addr().IsUnspecified() || c.Advertise.Port() == 0 {
		return bad("%v is no address that others can reach; set the address to advertise", c.Advertise)
	}
	return me, nil
}

// pace sets memberlist's times so that a death is known within notice. In
// intervals between probes, of which notice has 10: up to 2 (small clusters;
// about 1.6 in large ones) until somebody probes the dead node, 1 until the probe
// has failed also by way of others and over TCP, 3 of suspicion, in which it may
// object (6 if nobody confirms; times log10 of the nodes beyond 10), and a gossip
// round or two. Measured with 5 nodes: 1.4 s of 3, at 0.24 % of a core a node.
func pace(c *memberlist.Config, notice time.Duration) {
	c.ProbeInterval = notice / 10
	c.ProbeTimeout = notice / 20
	c.SuspicionMult = 3
	c.SuspicionMaxTimeoutMult = 2
	c.AwarenessMaxMultiplier = 3 // a node that is slow itself waits longer before it accuses others
	c.IndirectChecks = 3
	c.GossipInterval = notice / 15
	c.GossipNodes = 3
	c.RetransmitMult = 4
	c.GossipToTheDeadTime = 10 * notice
	c.PushPullInterval = 5 * notice
	c.DeadNodeReclaimTime = time.Millisecond // the dead have no claim; 0 would be for ever
	c.TCPTimeout = 5 * time.Second
}
