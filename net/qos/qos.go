// Package qos makes a network device send what latency-critical procs write
// before what best-effort procs do.
//
// sigmad marks each socket that it makes for a proc with a priority of the
// proc's class (SO_PRIORITY); the device's queueing discipline does the rest. HTB
// is used where the kernel has it: a priority that is the id of one of its classes
// steers packets there with no filter at all. Elsewhere it is the prio discipline,
// whose map from priorities to bands the kernel brings along.
//
// A discipline shapes only what leaves through this device, and only while the
// device itself is the narrow place; so its rate must be known. What procs of neither
// class send, sigmad's own words among it, goes with the best-effort class.
package qos

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"sigmaos/api"
)

// Device is a network device with a discipline of ours on it.
type Device struct {
	link  netlink.Link
	qdisc netlink.Qdisc
	// Priority of a class's sockets.
	Priority [2]int
}

const (
	major   = 1
	classLC = 10
	classBE = 20

	prioLC = 6 // TC_PRIO_INTERACTIVE: band 0
	prioBE = 2 // TC_PRIO_BULK: band 2
)

// Open puts a discipline on a device that sends rate bits a second.
func Open(device string, rate uint64) (*Device, error) {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return nil, fmt.Errorf("qos: no network device %s (this machine has %s): %w", device, devices(), err)
	}
	d := &Device{link: link}
	d.clear()
	if err = d.htb(rate); err == nil {
		return d, nil
	}
	d.Close()
	if perr := d.prio(); perr != nil {
		d.Close()
		return nil, fmt.Errorf("qos: %s takes neither HTB nor prio (modprobe sch_htb; start without --qos-device): %w", device, errors.Join(err, perr))
	}
	return d, nil
}

// clear removes what a killed sigmad left: neither discipline can be changed in
// place.
func (d *Device) clear() {
	list, err := netlink.QdiscList(d.link)
	if err != nil {
		return
	}
	for _, q := range list {
		if a := q.Attrs(); a.Parent == netlink.HANDLE_ROOT && a.Handle == netlink.MakeHandle(major, 0) {
			netlink.QdiscDel(q)
		}
	}
}

func (d *Device) root(handle uint16) netlink.QdiscAttrs {
	return netlink.QdiscAttrs{LinkIndex: d.link.Attrs().Index, Handle: netlink.MakeHandle(handle, 0), Parent: netlink.HANDLE_ROOT}
}

func (d *Device) htb(rate uint64) error {
	q := netlink.NewHtb(d.root(major))
	q.Defcls = classBE
	if err := netlink.QdiscReplace(q); err != nil {
		return err
	}
	d.qdisc = q
	class := func(parent uint32, minor uint16, rate, ceil uint64, prio uint32) error {
		return netlink.ClassReplace(netlink.NewHtbClass(
			netlink.ClassAttrs{LinkIndex: d.link.Attrs().Index, Parent: parent, Handle: netlink.MakeHandle(major, minor)},
			netlink.HtbClassAttrs{Rate: rate, Ceil: ceil, Prio: prio}))
	}
	// Each may use all that the other leaves; where both want more, LC goes first
	// with all but a tenth.
	for _, c := range []struct {
		parent     uint32
		minor      uint16
		rate, prio uint64
	}{
		{netlink.MakeHandle(major, 0), 1, rate, 0},
		{netlink.MakeHandle(major, 1), classLC, rate - rate/10, 0},
		{netlink.MakeHandle(major, 1), classBE, rate / 10, 1},
	} {
		if err := class(c.parent, c.minor, c.rate, rate, uint32(c.prio)); err != nil {
			return err
		}
	}
	d.Priority = [2]int{api.LC: int(netlink.MakeHandle(major, classLC)), api.BE: int(netlink.MakeHandle(major, classBE))}
	return nil
}

func (d *Device) prio() error {
	q := netlink.NewPrio(d.root(major))
	if err := netlink.QdiscReplace(q); err != nil {
		return err
	}
	d.qdisc = q
	d.Priority = [2]int{api.LC: prioLC, api.BE: prioBE}
	return nil
}

// Kind names the discipline.
func (d *Device) Kind() string { return d.qdisc.Type() }

// Close gives the device back the kernel's own discipline.
func (d *Device) Close() error {
	if d.qdisc == nil {
		return nil
	}
	q := d.qdisc
	d.qdisc = nil
	if err := netlink.QdiscDel(q); err != nil {
		return fmt.Errorf("qos: %s: %w", d.link.Attrs().Name, err)
	}
	return nil
}

func devices() string {
	list, err := net.Interfaces()
	if err != nil {
		return "none that can be listed"
	}
	s := ""
	for _, i := range list {
		s += " " + i.Name
	}
	return s[min(1, len(s)):]
}
