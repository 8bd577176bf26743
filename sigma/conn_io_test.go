package sigma

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ends makes a connection of both kinds for a test.
func ends(t *testing.T, fds func() (int, int, error)) (a, b *Conn) {
	t.Helper()
	x, y, err := fds()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = newConn(x, Peer{}, Peer{}); err == nil {
		b, err = newConn(y, Peer{}, Peer{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

var kinds = map[string]func() (int, int, error){"same node": socketpair, "other node": tcp}

// Writes of sizes on both sides of rawLimit, from several goroutines, arrive
// whole: each is of one letter, and no other letter is in the middle of it.
func TestWritesAreNotMixed(t *testing.T) {
	sizes := []int{100, rawLimit - 1, rawLimit, rawLimit + 1, 3 * rawLimit}
	for name, fds := range kinds {
		t.Run(name, func(t *testing.T) {
			a, b := ends(t, fds)
			const times = 20
			total := 0
			var wg sync.WaitGroup
			for i, size := range sizes {
				total += times * size
				msg := bytes.Repeat([]byte{byte('a' + i)}, size)
				wg.Go(func() {
					for range times {
						if n, err := a.Write(msg); n != len(msg) || err != nil {
							t.Errorf("Write of %d = %d, %v", len(msg), n, err)
						}
					}
				})
			}
			got := make([]byte, total)
			if _, err := io.ReadFull(b, got); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			for at := 0; at < len(got); {
				letter := got[at]
				size := sizes[letter-'a']
				if n := len(got[at:]) - len(bytes.TrimLeft(got[at:], string(letter))); n%size != 0 {
					t.Fatalf("%d times %q in a row; its writes are of %d", n, letter, size)
				} else {
					at += n
				}
			}
		})
	}
}

// A write that a deadline or a Close ends in the middle says how much went.
func TestWriteEndsInTheMiddle(t *testing.T) {
	for name, fds := range kinds {
		for how, want := range map[string]error{"deadline": os.ErrDeadlineExceeded, "close": net.ErrClosed} {
			t.Run(name+", "+how, func(t *testing.T) {
				a, b := ends(t, fds)
				if how == "deadline" {
					a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				} else {
					time.AfterFunc(50*time.Millisecond, func() { a.Close() })
				}
				sent := 0
				var err error
				for err == nil {
					var n int
					n, err = a.Write(make([]byte, rawLimit-7))
					sent += n
				}
				if !errors.Is(err, want) {
					t.Errorf("Write to a peer that does not read = %v, want %v", err, want)
				}
				var oe *net.OpError
				if !errors.As(err, &oe) || oe.Op != "write" || oe.Net != "sigma" {
					t.Errorf("the error is %#v, want a net.OpError of sigma's write", err)
				}
				a.Close()
				if got, err := io.Copy(io.Discard, b); got != int64(sent) || err != nil {
					t.Errorf("the peer got %d bytes, %v; the writer was told %d", got, err, sent)
				}
			})
		}
	}
}

func TestReadAndWriteOfNothing(t *testing.T) {
	for name, fds := range kinds {
		t.Run(name, func(t *testing.T) {
			a, _ := ends(t, fds)
			if n, err := a.Read(nil); n != 0 || err != nil {
				t.Errorf("Read(nil) = %d, %v; want 0, nil: there is nothing to wait for", n, err)
			}
			if n, err := a.Write(nil); n != 0 || err != nil {
				t.Errorf("Write(nil) = %d, %v; want 0, nil", n, err)
			}
		})
	}
}

func TestErrorsOfReadAndWriteAreTheNetworks(t *testing.T) {
	a, b := ends(t, socketpair)
	b.Close()
	_, err := a.Write([]byte("x"))
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write to a closed peer = %v, want EPIPE", err)
	}
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read from a closed peer = %v, want io.EOF", err)
	}
	a.Close()
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close = %v, want net.ErrClosed", err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close = %v, want net.ErrClosed", err)
	}
}

func TestFileConnHasItsOwnDescriptor(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	plain, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := FileConn(plain.(*net.TCPConn))
	if err != nil {
		t.Fatalf("FileConn of a TCP connection = %v", err)
	}
	defer c.Close()
	plain.Close()
	if _, err := FileConn(plain.(*net.TCPConn)); err == nil {
		t.Error("FileConn of a closed connection = nil")
	}
	peer, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := c.Write([]byte("hi")); err != nil {
		t.Fatalf("Write after the original was closed = %v", err)
	}
	var b [2]byte
	if _, err := io.ReadFull(peer, b[:]); err != nil || string(b[:]) != "hi" {
		t.Errorf("the peer reads %q, %v; want hi", b, err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read with a deadline = %v, want it exceeded", err)
	}
}
