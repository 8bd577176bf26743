package qos

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// inside runs fn in a network namespace of its own with a veth pair.
func inside(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "qa"}, PeerName: "qb"}
		if err := netlink.LinkAdd(v); err != nil {
			t.Error(err)
			return
		}
		fn()
	}()
	<-done
}

func TestDisciplineComesAndGoes(t *testing.T) {
	inside(t, func() {
		for range 2 { // also over what a killed sigmad left
			d, err := Open("qa", 100_000_000)
			if err != nil {
				t.Error(err)
				return
			}
			if d.Priority[api.LC] == 0 || d.Priority[api.LC] == d.Priority[api.BE] {
				t.Errorf("priorities %v", d.Priority)
			}
			link, _ := netlink.LinkByName("qa")
			list, err := netlink.QdiscList(link)
			if err != nil || len(list) == 0 || list[0].Type() != d.Kind() {
				t.Errorf("disciplines %v, %v; want %s", list, err, d.Kind())
			}
			if d.Kind() == "htb" {
				classes, err := netlink.ClassList(link, 0)
				if err != nil || len(classes) != 3 {
					t.Errorf("classes %v, %v", classes, err)
				}
			}
			again, err := Open("qa", 100_000_000)
			if err != nil {
				t.Error(err)
				return
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
			if list, _ := netlink.QdiscList(link); len(list) > 0 && list[0].Type() == "htb" {
				t.Errorf("after the end: %v", list)
			}
		}
		if _, err := Open("none", 1); err == nil || !strings.Contains(err.Error(), "qa") {
			t.Errorf("a device that is not there: %v; want the list of those that are", err)
		}
	})
}
