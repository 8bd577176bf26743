package splice

import (
	"context"
	"io"
	"net"
	"testing"
)

func TestJoin(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(near, far net.Conn, cancel func())
	}{
		{"the near end goes", func(near, _ net.Conn, _ func()) { near.Close() }},
		{"the far end goes", func(_, far net.Conn, _ func()) { far.Close() }},
		{"the context ends", func(_, _ net.Conn, cancel func()) { cancel() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			near, a := net.Pipe()
			b, far := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				Join(ctx, a, b)
			}()
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				go way[0].Write([]byte("text"))
				got := make([]byte, 4)
				if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "text" {
					t.Errorf("what was written at one end is %q, %v at the other", got, err)
				}
			}
			tt.end(near, far, cancel)
			<-done
			for _, c := range []net.Conn{near, far} {
				if _, err := c.Write([]byte("x")); err == nil {
					t.Error("an end is still open")
				}
			}
		})
	}
}
