package test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/outside"
)

// proxyHead is a PROXY header of version 2: from an address of the world.
func proxyHead(from [4]byte, port uint16) []byte {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
	b = append(append(b, from[:]...), 10, 0, 0, 1)
	b = binary.BigEndian.AppendUint16(b, port)
	return append(b, 0, 80)
}

// freePort is an address that nobody listens on just now.
func freePort(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

// deliver connects from an address of loopback, sends b and half-closes.
func deliver(t *testing.T, from, to string, b []byte) ([]byte, error) {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	go func() {
		c.Write(b)
		c.(*net.TCPConn).CloseWrite()
	}()
	return io.ReadAll(c)
}

// A load-balancer in the configured range delivers to a published proc, on this
// node and on another: the proc knows the client's address, and has every byte.
// Others are not served.
func TestIngressFromALoadBalancer(t *testing.T) {
	at := freePort(t)
	nodes := StartCluster(t, 2)
	n := nodes[0]
	n.Stop()
	n.args = append(n.args, "--ingress", at+"=default:/front", "--lb-ranges", "127.0.1.0/24")
	n.Start()
	n.awaitMembers(2)
	large := bytes.Repeat([]byte("payload "), 1<<20)
	for i, server := range nodes {
		c := server.Client("default")
		id, _ := server.listening(c, "echo", "serve", "/front")
		for j, payload := range [][]byte{[]byte("short"), large} {
			port := uint16(1000 + 10*i + j)
			got, err := deliver(t, "127.0.1.9", at, append(proxyHead([4]byte{203, 0, 113, 7}, port), payload...))
			if err != nil || !bytes.Equal(got, payload) {
				t.Errorf("proc on %s: %d of %d bytes came back, %v", server.Name, len(got), len(payload), err)
			}
			want := fmt.Sprintf("connection from 203.0.113.7:%d", port)
			eventually(t, patience, "the proc's log", func() (bool, string) {
				_, e, _ := server.Ctl("logs", string(id))
				return strings.Contains(e, want), e
			})
		}
		for name, tt := range map[string]struct {
			from string
			b    []byte
		}{
			"another address": {"127.0.2.9", append(proxyHead([4]byte{203, 0, 113, 7}, 1), "x"...)}, "no header": {"127.0.1.9", []byte("GET / HTTP/1.1\r\n\r\n")},
			"half a header": {"127.0.1.9", proxyHead([4]byte{}, 1)[:20]}, "nothing": {"127.0.1.9", nil},
		} {
			if got, _ := deliver(t, tt.from, at, tt.b); len(got) != 0 {
				t.Errorf("%s is answered %q", name, got)
			}
		}
		server.kill(c, id)
		eventually(t, 10*time.Second, "the end of /front", func() (bool, string) {
			out, _, code := server.Ctl("stat", "/front")
			return code != 0, out
		})
	}
	if got, _ := deliver(t, "127.0.1.9", at, append(proxyHead([4]byte{203, 0, 113, 7}, 1), "x"...)); len(got) != 0 {
		t.Errorf("with no proc there: %q", got)
	}
}

// An operator publishes what runs outside, at a private address too; procs dial
// its name, and nothing else of that machine.
func TestPublishedServiceIsDialledByName(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b, _ := io.ReadAll(c)
				fmt.Fprintf(c, "database has %s", b)
			}()
		}
	}()
	n := StartNode(t)
	n.realm("other")
	if _, e, code := n.Ctl("mkdir", "/svc"); code != 0 {
		t.Fatal(e)
	}
	if _, e, code := n.Ctl("ep", "publish", "/svc/db", lis.Addr().String()); code != 0 {
		t.Fatal(e)
	}
	if out, e, code := n.Ctl("run", Proc(t, "echo"), "say", "/svc/db", "a query"); code != 0 || out != "database has a query\n" {
		t.Errorf("by name: %q, %q", out, e)
	}
	if s := n.epLines("default", "external", lis.Addr().String()); s[0].kind != api.Denied {
		t.Errorf("by address: %+v", s[0])
	}
	if out, e, code := n.Ctl("--realm", "other", "run", Proc(t, "echo"), "say", "/svc/db", "x"); code != 1 {
		t.Errorf("from another realm: %q, %q", out, e)
	}
	// A tenant cannot write such a link, nor make one of an endpoint link.
	file := filepath.Join(t.TempDir(), "token")
	if _, e, code := n.Ctl("realm", "token", "default", "--file", file); code != 0 {
		t.Fatal(e)
	}
	if _, e, code := n.Ctl("--context", file, "ep", "publish", "/mine", lis.Addr().String()); code != 1 {
		t.Errorf("a tenant publishes: status %d, %q", code, e)
	}
	if _, e, code := n.Ctl("run", "/bin/echo", "say", "/mine", "x"); code != 1 {
		t.Errorf("and it is dialled: %q", e)
	}
}

// Garbage, half a handshake and silence at the gateway of a whole node, from
// 5,000 connections: a client gets in meanwhile, and sigmad is as before.
func TestGatewayBearsACrowd(t *testing.T) {
	n := StartNode(t, "--gateway", "127.0.0.1:0")
	_, ep := n.listening(n.Client("default"), "echo", "serve")
	path := filepath.Join(t.TempDir(), "token")
	if _, e, code := n.Ctl("realm", "token", "default", "--file", path); code != 0 {
		t.Fatal(e)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f outside.File
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	talk := func() error {
		c, _, err := outside.Connect(minute(t), path)
		if err != nil {
			return err
		}
		defer c.Close()
		conn, err := c.Dial(minute(t), ep)
		if err != nil {
			return err
		}
		defer conn.Close()
		io.WriteString(conn, "hello")
		conn.(*outside.Conn).CloseWrite()
		if b, err := io.ReadAll(conn); err != nil || string(b) != "hello" {
			return fmt.Errorf("%q, %w", b, err)
		}
		return nil
	}
	if err := talk(); err != nil {
		t.Fatal(err)
	}
	before, rss := n.descriptors(), resident(n.PID())
	var crowd []net.Conn
	defer func() {
		for _, c := range crowd {
			c.Close()
		}
	}()
	for i := range scaled(2000, 5000) {
		d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, byte(1+i%4))}}
		c, err := d.Dial("tcp", f.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
		c.SetDeadline(time.Now().Add(30 * time.Second))
		switch i % 4 {
		case 0:
			c.Write([]byte("garbage, garbage, garbage"))
		case 1:
			c.Write([]byte{0x16, 3, 1, 2, 0, 1}) // the head of a hello
		case 2: // TLS, and then nothing
			go tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"sigma/1"}}).Handshake()
		}
		if i%500 == 250 {
			if err := talk(); err != nil {
				t.Errorf("a client, with %d strangers there: %v", i, err)
			}
		}
	}
	if held := n.descriptors() - before; held > 400 {
		t.Errorf("the crowd holds %d descriptors of sigmad", held)
	}
	if more := resident(n.PID()) - rss; more > 200<<20 {
		t.Errorf("the crowd costs sigmad %d MiB", more>>20)
	}
	begin := time.Now()
	for _, c := range crowd {
		io.Copy(io.Discard, c)
	}
	if took := time.Since(begin); took > 25*time.Second {
		t.Errorf("the last stranger left after %v", took)
	}
	n.settles(before)
	if err := talk(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
