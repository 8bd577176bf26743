package fdpass

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCloserClosesAll: what was handed over is closed by itself, and what is
// left at the end with it.
func TestCloserClosesAll(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration
		end   bool
	}{{"by time", time.Millisecond, false}, {"by End", time.Hour, true}} {
		t.Run(c.name, func(t *testing.T) {
			l := NewCloser(c.after)
			var peers []*Conn
			for range 3 {
				a, b := conns(t, unix.SOCK_STREAM)
				l.Close(a)
				peers = append(peers, b)
			}
			if c.end {
				l.End()
				a, b := conns(t, unix.SOCK_STREAM)
				l.Close(a) // nobody sweeps any more
				peers = append(peers, b)
			}
			for _, b := range peers {
				if _, err := b.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("read of the peer: %v; want EOF", err)
				}
			}
			if !c.end {
				l.End()
			}
		})
	}
}
