package s3

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// transport has no deadline on whole requests: each has its own.
func transport(st Store) *http.Transport {
	dial := dialer(st)
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return widen(c), nil
		},
		Proxy: nil, TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConns: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: 3 * time.Minute,
		DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}
}

// dialer connects with a store, wherever the SDK thinks that it is.
func dialer(st Store) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	path, ok := strings.CutPrefix(st.Endpoint, "unix:")
	if !ok {
		return d.DialContext
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }
}

// wide is a connection on which bodies go out in large pieces. net/http copies them
// 32 KiB at a time, and a store that hashes as it reads is woken for each: with one
// system call for half a MiB the two of them took half of the CPU time.
type wide struct{ net.Conn }

const widePiece = 512 << 10

var widePieces = sync.Pool{New: func() any { b := make([]byte, widePiece); return &b }}

// widen gives a Unix socket room for two such pieces; TCP finds its own.
func widen(c net.Conn) net.Conn {
	if s, ok := c.(*net.UnixConn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) {
				if unix.SetsockoptInt(int(fd), syscall.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*widePiece) != nil {
					unix.SetsockoptInt(int(fd), syscall.SOL_SOCKET, unix.SO_SNDBUF, 2*widePiece) // as far as it is allowed
				}
			})
		}
	}
	return wide{c}
}

// ReadFrom sends r to its end.
func (w wide) ReadFrom(r io.Reader) (n int64, err error) {
	p := widePieces.Get().(*[]byte)
	defer widePieces.Put(p)
	for {
		k, rerr := io.ReadFull(r, *p)
		if k > 0 {
			m, err := w.Write((*p)[:k])
			if n += int64(m); err != nil {
				return n, err
			}
		}
		switch rerr {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return n, nil
		default:
			return n, rerr
		}
	}
}
