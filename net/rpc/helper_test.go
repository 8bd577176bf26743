package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
)

// Every goroutine of this package has an owner that waits for it.
func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is the bound of waits that should be short: not a measurement.
const patience = 20 * time.Second

// socketpair is two connected stream sockets.
func socketpair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		conns[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return conns[0], conns[1]
}

// connect serves one end of a pair with s and returns a Client at the other.
// Both are stopped with the test.
func connect(t testing.TB, s *Server, o Options) *Client {
	t.Helper()
	a, b := socketpair(t)
	serve(t, s, b)
	c := NewClient(a, o)
	t.Cleanup(func() { c.Close() })
	return c
}

// serve serves conn with s until the test ends; wait is for its error.
func serve(t testing.TB, s *Server, conn io.ReadWriteCloser) (wait func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ended := make(chan struct{})
	go func() { defer close(ended); done <- s.ServeConn(ctx, conn, "the peer") }()
	t.Cleanup(func() { cancel(); <-ended })
	return func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatal("ServeConn did not return")
			return nil
		}
	}
}

// testServer has a method of each sort.
func testServer(o Options) *Server {
	s := NewServer(o)
	s.HandleInline("inline", func(_ context.Context, r *Request) ([]byte, error) { return r.Body, nil })
	s.Handle("echo", func(_ context.Context, r *Request) ([]byte, error) { return r.Body, nil })
	s.Handle("wait", func(ctx context.Context, r *Request) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s.HandleStream("echo stream", func(_ context.Context, st *Stream) error {
		for {
			m, err := st.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := st.Send(m); err != nil {
				return err
			}
		}
	})
	s.HandleStream("wait stream", func(ctx context.Context, st *Stream) error {
		<-ctx.Done()
		return ctx.Err()
	})
	return s
}

// raw is the other side of a connection, made of single frames.
type raw struct {
	t    testing.TB
	conn net.Conn
	in   *reader
}

// newRaw says hello in the given role and hears the other side's.
func newRaw(t testing.TB, conn net.Conn, role uint8) *raw {
	t.Helper()
	r := &raw{t: t, conn: conn, in: &reader{src: conn, limit: mostFrame}}
	conn.SetDeadline(time.Now().Add(patience))
	r.write(goodHello(role))
	if _, err := readHello(conn, roleCaller+roleServer-role); err != nil {
		t.Fatalf("hello: %v", err)
	}
	return r
}

func goodHello(role uint8) []byte {
	return appendHello(nil, hello{newest: version, oldest: oldest, role: role, maxFrame: 1 << 20, window: 256 << 10, maxCalls: 4096})
}

func (r *raw) write(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *raw) send(k kind, id, arg uint32, name string, body []byte) {
	r.t.Helper()
	r.write(appendFrame(nil, k, id, arg, name, body))
}

// expect reads a frame of a kind and number.
func (r *raw) expect(k kind, id uint32) frame {
	r.t.Helper()
	f, err := r.in.next()
	if err != nil || f.kind != k || f.id != id {
		r.t.Fatalf("next frame: type %d of %d, %v; want type %d of %d", f.kind, f.id, err, k, id)
	}
	return f
}

func wantKind(t testing.TB, what string, err error, want api.Kind) {
	t.Helper()
	if got := api.KindOf(err); got != want {
		t.Errorf("%s: %v (kind %q), want kind %q", what, err, got, want)
	}
}

// numbered is a message that says its number.
func numbered(n, size int) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 0, max(size, 8)), uint64(n))[:max(size, 8)]
}

func number(m []byte) int { return int(binary.LittleEndian.Uint64(m)) }

var errPlain = errors.New("plain")

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
