package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// benchPair connects a Client and a Server over a real socket.
func benchPair(b *testing.B, network string, s *Server) *Client {
	addr, secure := "127.0.0.1:0", network == "tls"
	switch network {
	case "unix":
		addr = filepath.Join(b.TempDir(), "s")
	case "tls":
		network = "tcp"
	}
	lis, err := net.Listen(network, addr)
	if err != nil {
		b.Fatal(err)
	}
	server, client := tlsConfigs(b)
	if secure {
		lis = tls.NewListener(lis, server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx, lis) }()
	conn, err := net.Dial(network, lis.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if secure {
		conn = tls.Client(conn, client)
	}
	c := NewClient(conn, Options{})
	if _, err := c.Call(bg, "sched.inline", nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(); cancel(); <-done })
	return c
}

func benchServer() *Server {
	s := NewServer(Options{})
	ok := make([]byte, 32)
	s.HandleInline("sched.inline", func(ctx context.Context, r *Request) ([]byte, error) { return ok, nil })
	s.Handle("sched.place", func(ctx context.Context, r *Request) ([]byte, error) { return ok, nil })
	s.HandleStream("sched.stream", func(ctx context.Context, st *Stream) error {
		for {
			m, err := st.Recv()
			if err != nil {
				return nil
			}
			if len(m) > 0 && m[0] == 1 {
				if err := st.Send(m); err != nil {
					return err
				}
			}
		}
	})
	return s
}

func BenchmarkCall(b *testing.B) {
	for _, network := range []string{"unix", "tcp", "tls"} {
		for _, method := range []string{"sched.inline", "sched.place"} {
			for _, callers := range []int{1, 8, 64, 512} {
				b.Run(fmt.Sprintf("%s/%s/%d", network, method[6:], callers), func(b *testing.B) {
					c := benchPair(b, network, benchServer())
					req := make([]byte, 64)
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					b.ReportAllocs()
					b.ResetTimer()
					var wg sync.WaitGroup
					for i := range callers {
						wg.Add(1)
						go func() {
							defer wg.Done()
							for n := i; n < b.N; n += callers {
								if _, err := c.Call(ctx, method, req); err != nil {
									b.Error(err)
									return
								}
							}
						}()
					}
					wg.Wait()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
				})
			}
		}
	}
}

func BenchmarkGo(b *testing.B) {
	for _, network := range []string{"unix", "tcp", "tls"} {
		b.Run(network, func(b *testing.B) {
			c := benchPair(b, network, benchServer())
			req := make([]byte, 64)
			places := make(chan struct{}, 512)
			done := func(body []byte, err error) {
				if err != nil {
					b.Error(err)
				}
				<-places
			}
			ctx := context.Background()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				places <- struct{}{}
				if err := c.Go(ctx, "sched.inline", req, done); err != nil {
					b.Fatal(err)
				}
			}
			for range cap(places) {
				places <- struct{}{}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

func BenchmarkStream(b *testing.B) {
	for _, size := range []int{64, 4096, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := benchPair(b, "tcp", benchServer())
			st, err := c.Stream(context.Background(), "sched.stream")
			if err != nil {
				b.Fatal(err)
			}
			m := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := st.Send(m); err != nil {
					b.Fatal(err)
				}
			}
			m[0] = 1
			if err := st.Send(m); err != nil {
				b.Fatal(err)
			}
			if _, err := st.Recv(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkRawEcho is what the machine takes for one small message there and
// back between two goroutines.
func BenchmarkRawEcho(b *testing.B) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer lis.Close()
	go func() {
		conn, err := lis.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			conn.Write(buf[:n])
		}
	}()
	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 92)
	for b.Loop() {
		conn.Write(buf)
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
