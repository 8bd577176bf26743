package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/sigma"
)

// request is one frame of raw.
type request struct {
	name    string
	t       wire.Type
	payload []byte
}

func text(tag uint8, values ...string) []byte {
	var f wire.Fields
	for _, v := range values {
		f.String(tag, v)
	}
	return f
}

// requests that no library sends, around a good endpoint.
func requests(good string) []request {
	long := strings.Repeat("a", 200<<10)
	never, _ := api.NewEndpoint(1, 1)
	const dial, accept, end = wire.TDial, wire.TAccept, wire.TCloseEndpoint
	return []request{
		{"dial nothing", dial, nil}, {"dial 200 KB", dial, text(1, long)}, {"dial NULs", dial, text(1, strings.Repeat("\x00", 40))},
		{"dial a field past the end", dial, []byte{1, 255, 255, 255, 'x'}}, {"dial half a head", dial, []byte{1, 0}},
		{"dial unknown fields", dial, text(200, "x", "y")}, {"dial 50,000 empty fields", dial, bytes.Repeat([]byte{1, 0, 0, 0}, 50_000)},
		{"dial bad then good", dial, text(1, string(never), good)}, {"dial good then bad", dial, text(1, good, string(never))},
		{"dial good and outside", dial, append(text(1, good), text(2, "1.1.1.1:80")...)}, {"dial good and a service", dial, append(text(1, good), text(4, "named")...)},
		{"dial no service", dial, text(4, "none")}, {"dial NUL service", dial, text(4, "named\x00")}, {"dial a long path", dial, text(3, "/"+long)},
		{"dial a path of NULs", dial, text(3, "/\x00")}, {"dial outside nowhere", dial, text(2, long)}, {"dial outside NUL", dial, text(2, "\x00:80")},
		{"dial a node alone", dial, text(5, "n1")},
		{"accept nothing", accept, nil}, {"accept 200 KB", accept, text(1, long)}, {"accept a field past the end", accept, []byte{1, 255, 255, 255}},
		{"accept another's", accept, text(1, good)}, {"accept one that never was", accept, text(1, string(never))},
		{"close nothing", end, nil}, {"close another's", end, text(1, good)}, {"close one that never was", end, text(1, string(never))},
		{"close 200 KB", end, text(1, long)},
	}
}

// raw sends them all at once, each with an id and most again with none, and
// prints the answers.
func raw(_ context.Context, args []string) error {
	channel := os.NewFile(3, "control")
	list := requests(args[0])
	go func() {
		for i, r := range list {
			channel.Write(wire.Append(nil, wire.Frame{Type: r.t, ID: uint32(i + 1), Payload: r.payload}))
			channel.Write(wire.Append(nil, wire.Frame{Type: r.t, Payload: r.payload}))
		}
	}()
	in := wire.NewAnswerReader(channel)
	for range list {
		f, err := in.Read()
		if err != nil {
			return fmt.Errorf("the channel ended: %w", err)
		}
		err = nil
		if f.Flags&wire.FlagError != 0 {
			err = wire.DecodeError(f.Payload)
		}
		if f.ID == 0 || int(f.ID) > len(list) {
			return fmt.Errorf("an answer to request %d", f.ID)
		}
		line(list[f.ID-1].name, err, 0)
	}
	return nil
}

// deaf reads nothing of what it asked for, until it is ended.
func deaf(_ context.Context, args []string) error {
	channel := os.NewFile(3, "control")
	channel.Write(wire.Append(nil, wire.Frame{Type: wire.TStarted}))
	dial := text(1, args[0])
	for i := range number(args, 1, 1) {
		if _, err := channel.Write(wire.Append(nil, wire.Frame{Type: wire.TDial, ID: uint32(i + 1), Payload: dial})); err != nil {
			break
		}
	}
	time.Sleep(time.Hour)
	return nil
}

// steal acts on endpoints of others.
func steal(ctx context.Context, args []string) error {
	for _, a := range args {
		for name, t := range map[string]wire.Type{"accept": wire.TAccept, "close": wire.TCloseEndpoint} {
			actx, cancel := context.WithTimeout(ctx, 5*time.Second)
			begin := time.Now()
			err := sigma.Self().Stream(actx, t, text(1, a), func([]byte) error { return nil })
			cancel()
			line(name+" "+a, err, time.Since(begin))
		}
	}
	return nil
}

// misuse makes calls on a connection and prints what the kernel says.
func misuse(ctx context.Context, args []string) error {
	conn, err := sigma.Dial(ctx, api.Endpoint(args[0]))
	if err != nil {
		return err
	}
	defer conn.Close()
	rc, err := conn.(*sigma.Conn).SyscallConn()
	if err != nil {
		return err
	}
	say := func(what string, err error) {
		errno, _ := err.(syscall.Errno)
		fmt.Printf("%s\t%d\n", what, int(errno))
	}
	cerr := rc.Control(func(s uintptr) {
		fd := int(s)
		for name, o := range map[string][2]int{
			"SO_PRIORITY": {unix.SOL_SOCKET, unix.SO_PRIORITY}, "SO_MARK": {unix.SOL_SOCKET, unix.SO_MARK}, "IP_TOS": {unix.IPPROTO_IP, unix.IP_TOS},
			"IPV6_TCLASS": {unix.IPPROTO_IPV6, unix.IPV6_TCLASS}, "SO_BINDTODEVICE": {unix.SOL_SOCKET, unix.SO_BINDTODEVICE},
			"SO_RCVBUFFORCE": {unix.SOL_SOCKET, unix.SO_RCVBUFFORCE}, "IP_OPTIONS": {unix.IPPROTO_IP, unix.IP_OPTIONS}, "TCP_CONGESTION": {unix.IPPROTO_TCP, unix.TCP_CONGESTION},
			"TCP_REPAIR": {unix.IPPROTO_TCP, unix.TCP_REPAIR}, "TCP_ULP": {unix.IPPROTO_TCP, unix.TCP_ULP}, "SO_ATTACH_BPF": {unix.SOL_SOCKET, unix.SO_ATTACH_BPF},
		} {
			say("setsockopt "+name, unix.SetsockoptInt(fd, o[0], o[1], 6))
		}
		say("setsockopt SO_KEEPALIVE, which it may", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1))
		say("connect", unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{127, 0, 0, 1}}))
		say("bind", unix.Bind(fd, &unix.SockaddrInet4{}))
		say("listen", unix.Listen(fd, 1))
		_, _, err := unix.Accept4(fd, 0)
		say("accept4", err)
		for name, to := range map[string]int{"connection": fd, "control channel": 3} {
			say("sendmsg a descriptor over the "+name, unix.Sendmsg(to, []byte("x"), unix.UnixRights(3), nil, 0))
		}
		say("sendto an address", unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{127, 0, 0, 1}}))
		for name, family := range map[string]int{"INET": unix.AF_INET, "INET6": unix.AF_INET6, "UNIX": unix.AF_UNIX, "PACKET": unix.AF_PACKET, "NETLINK": unix.AF_NETLINK, "VSOCK": unix.AF_VSOCK} {
			_, err := unix.Socket(family, unix.SOCK_RAW, 0)
			say("a raw socket of "+name, err)
		}
		_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		say("socketpair", err)
	})
	if cerr != nil {
		return cerr
	}
	// The connection is as it was.
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("still")); err != nil {
		return err
	}
	b := make([]byte, 5)
	_, err = io.ReadFull(conn, b)
	fmt.Printf("the connection says %s\t0\n", b)
	return err
}
