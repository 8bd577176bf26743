package gateway

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/sigma"
)

// stream is n bytes that depend on seed.
func stream(seed byte, n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n) }

// sum reads to the end and says what came.
func sum(r io.Reader) ([32]byte, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return [32]byte(h.Sum(nil)), n, err
}

func mustSum(r io.Reader) [32]byte {
	s, _, _ := sum(r)
	return s
}

const big = 48 << 20

// Both directions are full at once; each side ends its own when it has said all.
func TestRelayCarriesLargeStreamsBothWays(t *testing.T) {
	w := newWorld(t, nil)
	type result struct {
		sum [32]byte
		n   int64
		err error
	}
	got := make(chan result, 1)
	ep := w.proc("r1", func(c *sigma.Conn, _ api.Peer) {
		said := make(chan struct{})
		go func() {
			defer close(said)
			io.Copy(c, stream(2, big))
			c.CloseWrite()
		}()
		var r result
		r.sum, r.n, r.err = sum(c)
		<-said
		got <- r
	})
	conn := w.dial(w.client("r1"), ep)
	go func() {
		io.Copy(conn, stream(1, big))
		conn.CloseWrite()
	}()
	down, n, err := sum(conn)
	if err != nil || n != big || down != mustSum(stream(2, big)) {
		t.Errorf("proc to client: %d of %d bytes, %v, or other ones", n, big, err)
	}
	if up := <-got; up.err != nil || up.n != big || up.sum != mustSum(stream(1, big)) {
		t.Errorf("client to proc: %d of %d bytes, %v, or other ones", up.n, big, up.err)
	}
}

// The client says all, then the proc answers; and the other way round.
func TestRelayPassesHalfCloses(t *testing.T) {
	w := newWorld(t, nil)
	ep := w.proc("r1", func(c *sigma.Conn, _ api.Peer) {
		b, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		c.Write(append([]byte("answer to "), b...))
	})
	conn := w.dial(w.client("r1"), ep)
	io.WriteString(conn, "question")
	conn.CloseWrite()
	if b, err := io.ReadAll(conn); err != nil || string(b) != "answer to question" {
		t.Errorf("the client first: %q, %v", b, err)
	}

	got := make(chan string, 1)
	ep = w.proc("r2", func(c *sigma.Conn, _ api.Peer) {
		io.WriteString(c, "go on")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	conn = w.dial(w.client("r2"), ep)
	if b, err := io.ReadAll(conn); err != nil || string(b) != "go on" {
		t.Errorf("the proc first: %q, %v", b, err)
	}
	for range 5 { // it may take its time
		io.WriteString(conn, "more ")
		time.Sleep(20 * time.Millisecond)
	}
	conn.CloseWrite()
	if b := <-got; b != "more more more more more " {
		t.Errorf("after the proc's end the client says %q", b)
	}
}

// A proc that leaves while the client still sends: the client has all that it
// was sent, sees the end, and cannot send for ever.
func TestRelayEndsWithTheProc(t *testing.T) {
	const linger = 2 * time.Second // in which the client takes what it was sent
	w := newWorld(t, func(c *Config) { c.Linger = linger })
	const last = 4 << 20
	ep := w.proc("r1", func(c *sigma.Conn, _ api.Peer) {
		io.ReadFull(c, make([]byte, 10))
		io.Copy(c, stream(3, last))
	})
	leaktest.Settle()
	before := open(t)
	c := w.client("r1")
	conn := w.dial(c, ep)
	writes := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream(1, 1<<40))
		writes <- err
	}()
	if s, n, err := sum(conn); err != nil || n != last || s != mustSum(stream(3, last)) {
		t.Errorf("of the proc's last %d bytes %d came, %v", last, n, err)
	}
	select {
	case err := <-writes:
		if err == nil {
			t.Error("the client sent it all")
		}
	case <-time.After(5 * linger):
		t.Error("the client goes on sending to nobody")
	}
	conn.Close()
	c.Close()
	await(t, before)
}

// A client that vanishes takes its connection with the proc with it.
func TestRelayEndsWithTheClient(t *testing.T) {
	w := newWorld(t, nil)
	ended := make(chan error, 1)
	ep := w.proc("r1", func(c *sigma.Conn, _ api.Peer) {
		io.WriteString(c, "hello")
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	conn := w.dial(w.client("r1"), ep)
	io.ReadFull(conn, make([]byte, 5))
	conn.NetConn().Close() // no goodbye
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the proc does not see the end")
	}
}

// A client that says nothing after its proc has said all is cut off; one that
// goes on is not.
func TestRelayCutsOffWhoIsQuiet(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Quiet = 2 * time.Second })
	got := make(chan string, 1)
	ep := w.proc("r1", func(c *sigma.Conn, _ api.Peer) {
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	conn := w.dial(w.client("r1"), ep)
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	want := ""
	for range 12 { // longer than the bound, in all
		io.WriteString(conn, "x")
		want += "x"
		time.Sleep(200 * time.Millisecond)
	}
	select {
	case b := <-got:
		if b != want {
			t.Errorf("the proc has %q, want %q", b, want)
		}
	case <-time.After(10 * time.Second):
		t.Error("a quiet client is not cut off")
	}
}

// A slow reader slows the sender down; what is on the way is bounded.
func TestRelayKeepsBackPressure(t *testing.T) {
	w := newWorld(t, nil)
	stopped := make(chan int64, 1)
	ep := w.proc("r1", func(c *sigma.Conn, _ api.Peer) {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := io.Copy(c, stream(1, 1<<30))
		if err == nil {
			t.Error("all of it went")
		}
		stopped <- n
	})
	w.dial(w.client("r1"), ep)
	if n := <-stopped; n > 64<<20 {
		t.Errorf("%d bytes went to a client that reads none", n)
	}
}
