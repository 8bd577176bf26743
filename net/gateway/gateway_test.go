package gateway

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/leaktest"
	"sigmaos/net/realmtoken"
	"sigmaos/sigma"
)

func TestAProgramOutsideDialsAProc(t *testing.T) {
	w := newWorld(t, nil)
	seen := make(chan api.Peer, 1)
	ep := w.proc("r1", func(c *sigma.Conn, p api.Peer) { seen <- p; echo(c, p) })
	c := w.client("r1")
	conn := w.dial(c, ep)
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	conn.CloseWrite()
	if b, err := io.ReadAll(conn); err != nil || string(b) != "hello" {
		t.Errorf("echo: %q, %v", b, err)
	}
	if p := <-seen; p.Realm != "r1" || p.User != "ann" || p.Proc != "" || p.Address != conn.Conn.LocalAddr().String() {
		t.Errorf("the proc sees %+v, want ann of r1 at %v", p, conn.Conn.LocalAddr())
	}
	if p := conn.Peer(); p.Proc == "" || p.Endpoint != ep {
		t.Errorf("the program sees %+v", p)
	}
	never, _ := api.NewEndpoint(1, 1)
	_, none := c.Dial(ctx, never)
	_, theirs := w.client("r2").Dial(ctx, ep)
	if api.KindOf(theirs) != api.NotFound || theirs.Error() != none.Error() {
		t.Errorf("another realm's endpoint: %v; none: %v", theirs, none)
	}
	if _, err := c.DialExternal(ctx, "1.1.1.1:80"); api.KindOf(err) != api.Denied {
		t.Errorf("out through the gateway: %v", err)
	}
	if _, _, err := c.NewEndpoint(ctx); api.KindOf(err) != api.Unsupported {
		t.Errorf("a listener outside: %v", err)
	}
}

// A program asks when it wants to: only the token must come at once.
func TestAKnownClientMayBeSilent(t *testing.T) {
	const auth = 2 * time.Second // of a busy machine
	w := newWorld(t, func(c *Config) { c.AuthTime = auth })
	c := w.client("r1")
	time.Sleep(auth * 3 / 2)
	var got []byte
	err := c.Stream(ctx, wire.TCall, wire.Call{Method: "m"}.Encode(), func(p []byte) error {
		a, err := wire.DecodeCall(p)
		got = a.Body
		return err
	})
	if err != nil || string(got) != `"r1 ann m"` {
		t.Errorf("after the time for a token: %s, %v", got, err)
	}
}

func TestPROBES_N32_WrongTokensAreToldAlikeAndLate(t *testing.T) {
	const delay = 100 * time.Millisecond
	w := newWorld(t, func(c *Config) { c.WrongDelay = delay })
	good := w.token("r1")
	other, err := realmtoken.NewKeys(realmtoken.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	claim := realmtoken.Claim{Realm: "r1", Expires: time.Now().Add(time.Hour)}
	ended := claim
	ended.Expires = time.Now().Add(-2 * time.Hour) // beyond what clocks may differ by
	damaged := func(i int) string {
		b := []byte(good)
		b[i] ^= 1
		return string(b)
	}
	gone := w.token("r1-that-was-removed")
	parts := strings.Split(good, ".")
	for name, tt := range map[string]struct{ token, want string }{
		"empty": {"", "not valid"}, "garbage": {"garbage", "not valid"}, "of another cluster": {other.Issue(claim), "not valid"},
		"ended": {w.keys.Issue(ended), "ended on"}, "first letter": {damaged(0), "not valid"}, "in the claim": {damaged(20), "not valid"},
		"in the signature": {damaged(len(good) - 3), "not valid"}, "cut": {good[:len(good)-10], "not valid"}, "longer": {good + "a", "not valid"},
		"no signature": {parts[0] + "." + parts[1] + ".", "not valid"}, "another kind": {"v4.local." + parts[2], "not valid"}, "another version": {"v3.public." + parts[2], "not valid"},
		"alg none": {"eyJhbGciOiJub25lIn0.eyJyZWFsbSI6InIxIn0.", "not valid"}, "of a removed realm": {gone, "not there any more"},
		"large": {strings.Repeat("v4.public.", 10000), "not valid"}, "NUL": {"\x00" + good, "not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			c, err := w.connectRaw(tt.token)
			if err == nil {
				c.Close()
				t.Fatal("it is let in")
			}
			if api.KindOf(err) != api.Denied || !strings.Contains(err.Error(), tt.want) || time.Since(begin) < delay {
				t.Errorf("%q (kind %q) after %v; want %q, kind %q, not before %v", err, api.KindOf(err), time.Since(begin), tt.want, api.Denied, delay)
			}
			if tt.token != "" && len(tt.token) > 20 && strings.Contains(err.Error(), tt.token[:20]) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

// connectRaw shows a token that no file could hold.
func (w *world) connectRaw(token string) (net.Conn, error) {
	c, err := tls.Dial("tcp", w.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ALPN}})
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	c.Write(wire.Append(nil, wire.Frame{Type: wire.TAuth, ID: 1, Payload: wire.Target{ID: token}.Encode()}))
	a, err := wire.ReadOne(c)
	if err == nil && a.Flags&wire.FlagError != 0 {
		err = wire.DecodeError(a.Payload)
	}
	if err != nil {
		c.Close()
	}
	return c, err
}

// PROBES N32: a token that was good dies with its realm, for those who come
// after; so does what a client in it can do, which is the handler's to refuse.
func TestPROBES_N32_ATokenDiesWithItsRealm(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.WrongDelay = time.Millisecond })
	token := w.token("r1")
	c, err := w.connect(token)
	if err != nil {
		t.Fatal(err)
	}
	ep := w.proc("r1", echo)
	w.mu.Lock()
	delete(w.realm, "r1")
	w.mu.Unlock()
	w.proxy.RemoveRealm("r1")
	if _, err := w.connect(token); api.KindOf(err) != api.Denied {
		t.Errorf("connect: %v", err)
	}
	if _, err := c.Dial(ctx, ep); api.KindOf(err) != api.Denied {
		t.Errorf("dial by who was there before: %v", err)
	}
}

// Whatever a stranger does or does not, it is gone in time and leaves nothing.
func TestStrangersAreGoneInTime(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AuthTime = 3 * time.Second; c.WrongDelay = time.Millisecond })
	w.client("r1") // what is made once is made
	leaktest.Settle()
	before := open(t)
	hello := captureHello(t)
	secure := func(t *testing.T, c net.Conn) *tls.Conn {
		s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ALPN}})
		if err := s.Handshake(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	auth := wire.Append(nil, wire.Frame{Type: wire.TAuth, ID: 1, Payload: wire.Target{ID: w.token("r1")}.Encode()})
	acts := map[string]func(t *testing.T, c net.Conn) net.Conn{
		"silence":             func(_ *testing.T, c net.Conn) net.Conn { return c },
		"garbage":             func(_ *testing.T, c net.Conn) net.Conn { c.Write(bytes.Repeat([]byte("garbage "), 1000)); return c },
		"plain HTTP":          func(_ *testing.T, c net.Conn) net.Conn { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); return c },
		"half a handshake":    func(_ *testing.T, c net.Conn) net.Conn { c.Write(hello[:len(hello)/2]); return c },
		"a hello and no more": func(_ *testing.T, c net.Conn) net.Conn { c.Write(hello); return c },
		"TLS and silence":     func(t *testing.T, c net.Conn) net.Conn { return secure(t, c) },
		"half a token":        func(t *testing.T, c net.Conn) net.Conn { s := secure(t, c); s.Write(auth[:30]); return s },
		"a frame too long": func(t *testing.T, c net.Conn) net.Conn {
			s := secure(t, c)
			s.Write([]byte{0, 0, 0, 9, 1, 11, 0, 0, 1, 0, 0, 0})
			return s
		},
		"another version": func(t *testing.T, c net.Conn) net.Conn {
			s := secure(t, c)
			s.Write([]byte{0, 0, 0, 0, 9, 11, 0, 0, 1, 0, 0, 0})
			return s
		},
		"another frame first": func(t *testing.T, c net.Conn) net.Conn {
			s := secure(t, c)
			s.Write(wire.Append(nil, wire.Frame{Type: wire.TSpawn, ID: 1}))
			return s
		},
		"a dripping handshake": func(_ *testing.T, c net.Conn) net.Conn {
			for _, b := range hello {
				if _, err := c.Write([]byte{b}); err != nil {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			return c
		},
	}
	t.Run("all", func(t *testing.T) { // at once; returns when they are through
		for name, act := range acts {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w.stranger(t, act)
			})
		}
	})
	await(t, before)
}

// stranger does something at the gateway and waits for the end of it.
func (w *world) stranger(t *testing.T, act func(t *testing.T, c net.Conn) net.Conn) {
	raw, err := w.from("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	begin := time.Now()
	io.Copy(io.Discard, act(t, raw))
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it lasted %v", took)
	}
}

// captureHello is what a client sends first.
func captureHello(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	go tls.Client(a, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ALPN}}).Handshake()
	buf := make([]byte, 4096)
	n, err := b.Read(buf)
	a.Close()
	b.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// 5,000 connections of strangers: they have their share, a client from
// elsewhere gets in meanwhile, and afterwards there is nothing left of them.
func TestACrowdOfStrangersKeepsNobodyOut(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AuthTime = 4 * time.Second; c.Strangers, c.StrangersEach = 64, 16 })
	w.client("r1")
	leaktest.Settle()
	before := open(t)
	var crowd []net.Conn
	for i := range 5000 {
		c, err := w.from(fmt.Sprintf("127.0.7.%d", 1+i%2)) // two addresses
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
		if i == 2500 {
			if _, err := w.connect(w.token("r1")); err != nil {
				t.Errorf("a client in the middle of it: %v", err)
			}
		}
	}
	if _, err := w.connect(w.token("r1")); err != nil {
		t.Errorf("a client with all of them there: %v", err)
	}
	for _, c := range crowd {
		if !ended(c) {
			t.Error("a stranger's connection does not end")
			break
		}
	}
	for _, c := range crowd {
		c.Close()
	}
	await(t, before+4) // the two clients, both ends
	if n := w.strange.Count(); n != 0 {
		t.Errorf("%d strangers are still counted", n)
	}
}

func TestARealmHasItsShareOfConnections(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Clients, c.ClientsEach = 5, 3 })
	ep := w.proc("r1", echo)
	c := w.client("r1") // one
	w.dial(c, ep)
	conn := w.dial(c, ep) // three
	if _, err := c.Dial(ctx, ep); api.KindOf(err) != api.Busy {
		t.Errorf("a fourth: %v, want kind %q", err, api.Busy)
	}
	w.client("r2")
	conn.Close()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		again, err := c.Dial(ctx, ep)
		if err == nil {
			again.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after one was closed: %v", err)
		}
	}
}

// Close of the gateway ends what it carries and waits for it.
func TestGatewayCloseEndsItsConnections(t *testing.T) {
	w := newWorld(t, nil)
	ep := w.proc("r1", echo)
	leaktest.Settle()
	before := open(t)
	c := w.client("r1")
	conn := w.dial(c, ep)
	idle, err := w.from("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	done := make(chan struct{})
	go func() { w.Gateway.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a relayed connection goes on")
	}
	if !ended(idle) {
		t.Error("a stranger's goes on")
	}
	idle.Close()
	conn.Close()
	c.Close()
	await(t, before-1)
}
