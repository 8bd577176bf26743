package peers

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/port"
	"sigmaos/net/rpc"
)

func TestLinksKnowBothSides(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	for _, c := range []struct {
		from *node
		to   uint16
		want string
	}{{n1, 2, "n2 serves n1 (1)"}, {n2, 1, "n1 serves n2 (2)"}, {n1, 1, "n1 serves n1 (1)"}} {
		if got, _, err := c.from.who(t, c.to); err != nil || got != c.want {
			t.Errorf("Link(%d) and a call = %q, %v; want %q", c.to, got, err, c.want)
		}
	}
	if s := n1.Links(); len(s) != 2 || !s[0].Up || !s[1].Up || s[1].Name != "n2" || s[1].Addr != n2.port.Addr().String() {
		t.Errorf("Links() = %+v", s)
	}
}

func TestOneLinkANode(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	var wg sync.WaitGroup
	clients := make([]*rpc.Client, 50)
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var err error
			if clients[i], err = n1.Link(t.Context(), 2); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	for _, c := range clients {
		if c != clients[0] {
			t.Fatal("two callers got different links")
		}
	}
	if s := n2.port.Stats(); s.Accepted != 1 {
		t.Errorf("n2 accepted %d connections, want 1", s.Accepted)
	}
}

func TestErrorsNameNodeAndReason(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, "127.0.0.1:0", nil)
	n2 := w.start(2, "127.0.0.1:0", nil)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	w.book.put(3, "n3", closed.Addr().String())
	w.book.put(4, "n4", n2.port.Addr().String()) // n2 is there
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w.book.put(5, "n5", silent.Addr().String())
	p6 := w.listen(6, "127.0.0.1:0") // a node without this service
	w.book.put(6, "n6", p6.Addr().String())
	for _, c := range []struct {
		node  uint16
		texts []string
	}{
		{9, []string{"node 9", "no living member"}},
		{3, []string{"n3 (3)", closed.Addr().String(), "refused"}},
		{4, []string{"n4 (4)", "at this address is node n2"}},
		{6, []string{"n6 (6)", "does not serve"}},
	} {
		_, err := n1.Link(t.Context(), c.node)
		wantKind(t, fmt.Sprintf("Link(%d)", c.node), err, api.Unavailable, c.texts...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = n1.Link(ctx, 5)
	wantKind(t, "Link to one that is silent, with a deadline", err, api.Deadline, "n5 (5)")
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = n1.Link(ctx, 5)
	wantKind(t, "Link to one that is silent, cancelled", err, api.Canceled, "n5 (5)")
}

// While a node cannot be reached callers are told at once, and attempts come at
// growing distances.
func TestAttemptsAreSpaced(t *testing.T) {
	w := newWorld(t)
	clk := clock.NewFake(time.Now())
	n1 := w.start(1, "127.0.0.1:0", func(c *Config) { c.Clock, c.RetryMin, c.RetryMax = clk, time.Second, 4*time.Second })
	var mu sync.Mutex
	accepted := 0
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	attempts := func() int {
		mu.Lock()
		defer mu.Unlock()
		return accepted
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			accepted++
			mu.Unlock()
			c.Close()
		}
	}()
	w.book.put(2, "n2", lis.Addr().String())
	for i, pause := range []time.Duration{1500 * time.Millisecond, 3 * time.Second, 6 * time.Second, 6 * time.Second} { // with half of it for chance
		for range 20 {
			_, err := n1.Link(t.Context(), 2)
			wantKind(t, "Link to one that hangs up", err, api.Unavailable, "n2 (2)")
		}
		if n := attempts(); n != i+1 {
			t.Errorf("%d attempts before pause %d, want %d", n, i, i+1)
		}
		clk.Await(1)
		clk.Advance(pause * 6 / 10) // less than the least pause
		if n := attempts(); n != i+1 {
			t.Errorf("%d attempts within pause %d, want %d", n, i, i+1)
		}
		clk.Advance(pause)
		await(t, "the next attempt", func() bool { return attempts() == i+2 })
	}
	addr := lis.Addr().String()
	lis.Close()
	<-ended
	n2 := w.start(2, addr, nil)
	await(t, "n2 is linked when it is there", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := n1.Link(ctx, 2)
		clk.Advance(time.Second)
		return err == nil
	})
	_ = n2
}

func TestABrokenLinkIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	_, first, err := n1.who(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := first.Call(context.Background(), "hang", nil)
		result <- err
	}()
	addr := n2.port.Addr().String()
	n2.stop()
	wantKind(t, "a call under way when the node stops", <-result, api.Unavailable)
	done(t, "the node stopped", first)
	w.start(2, addr, nil)
	// Nobody asks for it, and it comes.
	await(t, "the link is up again", func() bool { s := n1.Links(); return len(s) == 1 && s[0].Up })
	if got, second, err := n1.who(t, 2); err != nil || got != "n2 serves n1 (1)" || second == first {
		t.Errorf("a call on the new link: %q, %v, the same client: %v", got, err, second == first)
	}
}

// A machine that hangs keeps its connections; silence ends the link on both
// sides all the same.
func TestFAULTS_F5_SilenceIsDeath(t *testing.T) {
	w := newWorld(t)
	quick := func(c *Config) { c.Options.Heartbeat, c.Options.Silence = 20*time.Millisecond, 300*time.Millisecond }
	n1, n2 := w.start(1, "127.0.0.1:0", quick), w.start(2, "127.0.0.1:0", quick)
	r := newRelay(t, n2.port.Addr().String())
	w.book.put(2, "n2", r.lis.Addr().String())
	_, c, err := n1.who(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), "hang", nil)
		result <- err
	}()
	r.swallow()
	wantKind(t, "a call under way when the node falls silent", <-result, api.Unavailable, "nothing was heard")
	await(t, "n2 has dropped its side", func() bool {
		n2.mu.Lock()
		defer n2.mu.Unlock()
		return len(n2.incoming) == 0
	})
}

func TestANodeThatLeftLosesItsLinks(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	_, out, err := n1.who(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	_, in, err := n2.who(t, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.book.leave(2, true) // and is back: these are its new links
	if _, c, err := n1.who(t, 2); err != nil || c != out {
		t.Errorf("the link to one that is back was dropped: %v", err)
	}
	w.book.leave(2, false)
	done(t, "outgoing link of a node that left", out)
	done(t, "incoming link of a node that left", in)
	await(t, "the link is forgotten", func() bool { return len(n1.Links()) == 0 })
	_, err = n1.Link(t.Context(), 2)
	wantKind(t, "Link to a node that left", err, api.Unavailable, "no living member")
}

func TestLeftoversOfOneNodeAreBounded(t *testing.T) {
	w := newWorld(t)
	n1, p2 := w.start(1, "127.0.0.1:0", nil), w.listen(2, "127.0.0.1:0")
	var conns []net.Conn
	for range maxGuests + 3 {
		c, err := p2.Dial(t.Context(), n1.port.Addr().String(), "n1", ALPN)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for i, c := range conns[:3] {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("link %d of %d is still open", i, len(conns))
		}
	}
	n1.mu.Lock()
	defer n1.mu.Unlock()
	if n := len(n1.incoming[2]); n > maxGuests {
		t.Errorf("%d links of one node", n)
	}
}

func TestCloseEndsBothDirections(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	_, out, err := n1.who(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	_, in, err := n2.who(t, 1)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w.book.put(5, "n5", silent.Addr().String())
	waiter := make(chan error, 1)
	go func() {
		_, err := n1.Link(context.Background(), 5)
		waiter <- err
	}()
	await(t, "the waiter waits", func() bool { return len(n1.Links()) == 2 })
	go in.Call(context.Background(), "hang", nil)
	n1.Close()
	n1.Close()
	done(t, "own link", out)
	done(t, "the other's link", in)
	wantKind(t, "a Link under way at Close", <-waiter, api.Unavailable, "stopping")
	_, err = n1.Link(t.Context(), 2)
	wantKind(t, "Link after Close", err, api.Unavailable, "stopping")
	if _, err := n1.port.Handle(ALPN, func(context.Context, *port.Conn) {}); err != nil {
		t.Errorf("the service's name is not free after Close: %v", err)
	}
}

func TestStartRefusals(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, "127.0.0.1:0", nil)
	p := w.listen(2, "127.0.0.1:0")
	good := Config{Port: p, Directory: w.book, Server: rpc.NewServer(rpc.Options{}), Logger: slog.New(slog.DiscardHandler)}
	for name, c := range map[string]struct {
		edit func(*Config)
		want api.Kind
	}{
		"no directory":          {func(c *Config) { c.Directory = nil }, api.Internal},
		"pauses upside down":    {func(c *Config) { c.RetryMin, c.RetryMax = 2, 1 }, api.Invalid},
		"port that serves them": {func(c *Config) { c.Port = n1.port }, api.Exists},
	} {
		cfg := good
		c.edit(&cfg)
		_, err := Start(cfg)
		wantKind(t, "Start, "+name, err, c.want)
	}
}

// A machine that answers for a node that is not there says so with each connection:
// that is told once, and taken back when the node is there again, or is nobody's any
// more. Silence is another thing.
func TestFAULTS_F2_AMachineWithoutItsSigmadIsToldSoon(t *testing.T) {
	w := newWorld(t)
	told := make(chan bool, 100)
	n1 := w.start(1, "127.0.0.1:0", func(c *Config) {
		c.Refuses = func(node uint16, refuses bool) {
			if node != 2 {
				t.Errorf("told of node %d", node)
			}
			told <- refuses
		}
	})
	want := func(when string, refuses bool) {
		t.Helper()
		select {
		case got := <-told:
			if got != refuses {
				t.Fatalf("%s: told %v, want %v", when, got, refuses)
			}
		case <-time.After(patience):
			t.Fatalf("%s: not told within %v", when, patience)
		}
	}
	n2 := w.start(2, "127.0.0.1:0", nil)
	addr := n2.port.Addr().String()
	if _, _, err := n1.who(t, 2); err != nil {
		t.Fatal(err)
	}
	n2.stop()
	want("it has stopped", true)
	w.start(2, addr, nil)
	want("it is there again", false)

	// One that is asked and says nothing is not told of.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1000)
	var took sync.WaitGroup
	took.Go(func() {
		var open []net.Conn
		for {
			c, err := silent.Accept()
			if err != nil {
				break
			}
			open = append(open, c)
			asked <- struct{}{}
		}
		for _, c := range open {
			c.Close()
		}
	})
	n4 := w.start(4, "127.0.0.1:0", func(c *Config) {
		c.DialTime = 20 * time.Millisecond
		c.Refuses = func(node uint16, refuses bool) { t.Errorf("told %v of node %d", refuses, node) }
	})
	w.book.put(3, "n3", silent.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	calls.Go(func() {
		if _, err := n4.Link(ctx, 3); err == nil {
			t.Error("a link to one that is silent")
		}
	})
	for range 2 * enoughRefusals {
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatalf("not asked again within %v", patience)
		}
	}
	cancel()
	calls.Wait()
	w.book.leave(3, false)
	silent.Close()
	took.Wait()
}

// A link that is given up, because its node is no member any more, takes back what
// it told.
func TestRefusalEndsWithTheLink(t *testing.T) {
	w := newWorld(t)
	told := make(chan bool, 100)
	n1 := w.start(1, "127.0.0.1:0", func(c *Config) { c.Refuses = func(_ uint16, r bool) { told <- r } })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.book.put(2, "n2", closed.Addr().String())
	closed.Close()
	if _, err := n1.Link(t.Context(), 2); err == nil {
		t.Fatal("a link to nobody")
	}
	for _, want := range []bool{true, false} {
		select {
		case got := <-told:
			if got != want {
				t.Fatalf("told %v, want %v", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("not told %v within %v", want, patience)
		}
		w.book.leave(2, false)
	}
}
