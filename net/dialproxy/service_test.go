package dialproxy

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"sigmaos/api"
)

// While ServeSetup runs, the connection has a stranger's place at the node's
// port, which may end it: a service's must not need that for as long as it is
// open.
func TestServiceFromAnotherNodeIsNoStranger(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	n := c.nodes[1]
	n.Serve("echo", func(_ context.Context, conn net.Conn, _ api.Caller) { io.Copy(conn, conn) })
	d, err := c.nodes[2].Dial(ctx, caller("r", "p"), api.Target{Service: "echo", Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	conn := open(t, d)
	n.quiet(t) // or ServeSetup lasts as long as the service
	// By now the test's port has ended what it knew.
	io.WriteString(conn, "hello")
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	conn.Close()
	for end := time.Now().Add(5 * time.Second); n.serving.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the service's end is not noticed")
		}
	}
}
