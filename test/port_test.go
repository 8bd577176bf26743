package test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// endPort has the kernel stop listening on the node's port, as `ss -K` does to it.
func (n *Node) endPort() {
	n.t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", n.flag("--listen"))
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	local := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(addr.IP.To4()), addr.Port)
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", n.PID()))
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	inode := ""
	for _, line := range strings.Split(string(table), "\n") {
		const listens = "0A"
		if f := strings.Fields(line); len(f) > 9 && f[1] == local && f[3] == listens {
			inode = "socket:[" + f[9] + "]"
		}
	}
	pidfd, err := unix.PidfdOpen(n.PID(), 0)
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	defer unix.Close(pidfd)
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.PID()))
	for _, link := range links {
		if to, _ := os.Readlink(link); to != inode || inode == "" {
			continue
		}
		var number int
		fmt.Sscan(filepath.Base(link), &number)
		fd, err := unix.PidfdGetfd(pidfd, number, 0)
		if err == nil {
			err = unix.Shutdown(fd, unix.SHUT_RD)
			unix.Close(fd)
		}
		if err != nil {
			n.t.Fatalf("ending the socket: %v", err)
		}
		return
	}
	n.t.Fatalf("%s does not listen at %v", n.Name, addr)
}

// The socket of a node's port ends though nobody closed it: what is connected
// stays, and after a moment everybody reaches the node again.
func TestAPortThatEndsIsListenedOnAgain(t *testing.T) {
	nodes := StartCluster(t, 2)
	_, ep := nodes[1].listener()
	nodes[0].program("echo")
	say := func() (bool, string) {
		out, e, code := nodes[0].Ctl("run", "/bin/echo", "say", string(ep), "hello")
		return code == 0 && out == "hello\n", e
	}
	if ok, e := say(); !ok {
		t.Fatal(e)
	}
	for range 3 {
		nodes[1].endPort()
		eventually(t, 20*time.Second, "a proc of another node dials one of this", say)
	}
	nodes[0].awaitMembers(2)
}
