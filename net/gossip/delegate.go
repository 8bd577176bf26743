package gossip

import (
	"net/netip"

	"github.com/hashicorp/memberlist"

	"sigmaos/net/pki"
)

// delegate is what memberlist calls. It does so holding its own lock, so nothing
// here waits or calls back; and it goes on for a moment after Shutdown.
type delegate Gossip

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
)

// memberOf copies a node of memberlist's, which it will change.
func memberOf(n *memberlist.Node) (Member, error) {
	if err := pki.CheckName(n.Name); err != nil {
		return Member{}, err
	}
	info, err := decodeInfo(n.Meta)
	if err != nil {
		return Member{}, err
	}
	ip, _ := netip.AddrFromSlice(n.Addr)
	return Member{Name: n.Name, Addr: netip.AddrPortFrom(ip.Unmap(), n.Port), Info: info}, nil
}

// NodeMeta is what the others are told of this node.
func (d *delegate) NodeMeta(int) []byte { return (*Gossip)(d).meta() }

// NotifyAlive keeps out nodes that we could not show to anybody.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	_, err := memberOf(n)
	return err
}

// NotifyJoin tells of a node that is new, or back.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.NotifyUpdate(n) }

// NotifyUpdate tells of a node's new info.
func (d *delegate) NotifyUpdate(n *memberlist.Node) {
	m, err := memberOf(n)
	if err != nil { // NotifyAlive saw it before
		return
	}
	d.found(m)
	if other := d.table.put(m); other != nil {
		d.tellConflict(*other, m)
	}
}

// NotifyLeave tells of a node that is gone in either way.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	if m, ok := d.table.remove(n.Name); ok && !m.Leaving && m.Name != d.me.Name {
		d.lost(m)
	}
}

// NotifyConflict tells of a second node of the same name.
func (d *delegate) NotifyConflict(old, other *memberlist.Node) {
	m, err := memberOf(old)
	o, err2 := memberOf(other)
	if err == nil && err2 == nil {
		d.tellConflict(m, o)
	}
}

func (d *delegate) tellConflict(m, other Member) {
	if m.Name == d.me.Name || other.Name == d.me.Name {
		d.contested()
	}
	if !d.table.conflict(m, other) {
		return
	}
	d.log.Error("gossip: two nodes claim one place in the cluster; stop one of them, and do not copy a node's data directory",
		"name", m.Name, "number", m.Number, "addr", m.Addr, "boot", m.Boot, "other", other.Name, "otherAddr", other.Addr, "otherBoot", other.Boot)
}

// NotifyMsg takes a message of a node to us. What does not fit is lost, as packets
// are; it is said again.
func (d *delegate) NotifyMsg(b []byte) {
	m, ok := decodeMessage(b)
	switch {
	case !ok:
	case m.kind == sayGoodbye:
		d.table.leaving(m.name, m.boot)
		select {
		case d.goodbyes <- m:
		default:
		}
	case m.boot == d.cfg.Boot:
		select {
		case d.heard <- m.name:
		default:
		}
	}
}

// GetBroadcasts has nothing to add to what memberlist sends.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is what streams carry beside memberlist's own: nothing.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState takes the other side's LocalState.
func (d *delegate) MergeRemoteState([]byte, bool) {}
