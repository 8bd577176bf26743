package dialproxy

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
)

// filled waits until the stock is full.
func filled(t *testing.T, s *pairs) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); len(s.ready) < cap(s.ready); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d pairs are ready, want %d", len(s.ready), cap(s.ready))
		}
	}
}

func TestPairsAreReplacedAndClosed(t *testing.T) {
	leaktest.Settle()
	before := count(t)
	s := newPairs()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.fill(ctx) }()
	for i := range 3 * readyPairs {
		a, b, err := s.take()
		if err != nil {
			t.Fatalf("take %d = %v", i, err)
		}
		if _, err := unix.Write(a, []byte("x")); err != nil {
			t.Fatalf("write to pair %d = %v", i, err)
		}
		var buf [2]byte
		if n, err := unix.Read(b, buf[:]); n != 1 || err != nil {
			t.Errorf("read from pair %d = %d, %v; want the byte written: the ends belong together", i, n, err)
		}
		if _, err := unix.Read(b, buf[:]); err != unix.EAGAIN {
			t.Errorf("read from the empty pair %d = %v, want EAGAIN", i, err)
		}
		unix.Close(a)
		unix.Close(b)
	}
	filled(t, s)
	stop()
	<-done
	if n := count(t); n > before { // of the tests before this some may still be closing
		t.Errorf("%d descriptors are open, want %d", n, before)
	}
}

// A pair holds more than the kernel's own measure, so that large writes are not
// cut into as many pieces.
func TestPairsHoldMoreThanTheKernelsOwn(t *testing.T) {
	plain, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	room := func(p [2]int) (n int) {
		defer unix.Close(p[0])
		defer unix.Close(p[1])
		for {
			k, err := unix.Write(p[0], make([]byte, 32<<10))
			if err != nil {
				return n
			}
			n += k
		}
	}
	if a, b := room(ours), room(plain); unix.Geteuid() == 0 && a < 2*b {
		t.Errorf("a pair holds %d bytes, one with the kernel's own measure %d; want at least twice as much", a, b)
	}
}

func TestDialNowTakesWhatItCanAndNothingElse(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	ep, err := c.nodes[1].NewEndpoint(caller("r1", "server"))
	if err != nil {
		t.Fatal(err)
	}
	far, err := c.nodes[2].NewEndpoint(caller("r1", "far"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, realm string
		target      api.Target
		want        bool
	}{
		{"of this node", "r1", api.Target{Endpoint: ep}, true}, {"of another realm", "r2", api.Target{Endpoint: ep}, false},
		{"of no realm", "", api.Target{Endpoint: ep}, false}, {"of another node", "r1", api.Target{Endpoint: far}, false},
		{"no token", "r1", api.Target{Endpoint: "ep1-x"}, false}, {"two targets", "r1", api.Target{Endpoint: ep, Path: "/x"}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			p, ok := c.nodes[1].DialNow(caller(x.realm, "client"), x.target)
			if ok != x.want || (p.FD >= 0) != x.want {
				t.Errorf("DialNow = descriptor %d, %v; want ok %v", p.FD, ok, x.want)
			}
			if ok {
				unix.Close(p.FD)
			}
		})
	}
}
