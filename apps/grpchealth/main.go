// Grpchealth is the example of gRPC between procs: grpc-go's own health service
// and client, to which a listener and a dialer are all that σOS adds.
//
//	grpchealth serve                    makes an endpoint, prints it, and serves
//	grpchealth check ENDPOINT [SERVICE] asks once and prints the answer
//	grpchealth watch ENDPOINT SERVICE N prints the first N answers of a stream
//
// The server knows the service "" and "toggle", which is well until a moment
// after somebody begins to watch.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"sigmaos/sigma"
)

func main() {
	ctx := context.Background()
	err := run(ctx, os.Args[1:])
	st := sigma.Status{}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpchealth:", err)
		st = sigma.Status{Code: 1, Message: err.Error()}
	}
	sigma.Exited(st)
	os.Exit(st.Code)
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve(ctx)
	case len(args) >= 2 && len(args) <= 3 && args[0] == "check":
		return check(ctx, sigma.Endpoint(args[1]), append(args, "")[2])
	case len(args) == 4 && args[0] == "watch":
		n, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return watch(ctx, sigma.Endpoint(args[1]), args[2], n)
	}
	return fmt.Errorf("want serve, check ENDPOINT [SERVICE] or watch ENDPOINT SERVICE N, not %q", args)
}

func serve(ctx context.Context) error {
	lis, ep, err := sigma.NewEndpoint(ctx)
	if err != nil {
		return err
	}
	h := health.NewServer()
	s := grpc.NewServer(grpc.StreamInterceptor(toggle(h)))
	pb.RegisterHealthServer(s, h)
	go func() {
		sigma.WaitKill(ctx)
		s.GracefulStop()
	}()
	fmt.Println(ep)
	if err := sigma.Started(ctx); err != nil {
		return err
	}
	return s.Serve(lis)
}

// toggle changes the health of "toggle" a while after each stream begins.
func toggle(h *health.Server) grpc.StreamServerInterceptor {
	h.SetServingStatus("toggle", pb.HealthCheckResponse_SERVING)
	return func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if p, ok := peer.FromContext(s.Context()); ok {
			fmt.Fprintln(os.Stderr, "a watch by", p.Addr) // the proc's id: σOS says it, not the peer
		}
		t := time.AfterFunc(50*time.Millisecond, func() { h.SetServingStatus("toggle", pb.HealthCheckResponse_NOT_SERVING) })
		defer t.Stop()
		return next(srv, s)
	}
}

func client(ep sigma.Endpoint) (pb.HealthClient, func(), error) {
	conn, err := grpc.NewClient("passthrough:///"+string(ep),
		grpc.WithContextDialer(func(ctx context.Context, ep string) (net.Conn, error) { return sigma.Dial(ctx, sigma.Endpoint(ep)) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return pb.NewHealthClient(conn), func() { conn.Close() }, nil
}

func check(ctx context.Context, ep sigma.Endpoint, service string) error {
	c, end, err := client(ep)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := c.Check(ctx, &pb.HealthCheckRequest{Service: service})
	if err != nil {
		return err
	}
	fmt.Println(r.Status)
	return nil
}

func watch(ctx context.Context, ep sigma.Endpoint, service string, n int) error {
	c, end, err := client(ep)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := c.Watch(ctx, &pb.HealthCheckRequest{Service: service})
	for ; err == nil && n > 0; n-- {
		var r *pb.HealthCheckResponse
		if r, err = s.Recv(); err == nil {
			fmt.Println(r.Status)
		}
	}
	return err
}
