// Echo is the example of endpoints: it serves on one, and dials it.
//
//	echo serve [PATH]      makes an endpoint, prints it, and echoes what comes
//	echo http [PATH]       the same with a plain net/http server of its jail's /etc
//	echo say WHERE WORDS   sends the words and prints what comes back
//	echo get WHERE FILE    a plain net/http client on the dialer
//
// With PATH the endpoint is also published in the realm's name space. WHERE is
// an endpoint or such a path.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"sigmaos/sigma"
)

func main() {
	ctx := context.Background()
	err := run(ctx, os.Args[1:])
	st := sigma.Status{}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		st = sigma.Status{Code: 1, Message: err.Error()}
	}
	sigma.Exited(st)
	os.Exit(st.Code)
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("want serve, http, say or get")
	}
	switch verb, rest := args[0], args[1:]; {
	case verb == "serve" && len(rest) <= 1:
		return serve(ctx, rest)
	case verb == "http" && len(rest) <= 1:
		return serveHTTP(ctx, rest)
	case verb == "say" && len(rest) >= 2:
		return say(ctx, rest[0], strings.Join(rest[1:], " "))
	case verb == "get" && len(rest) == 2:
		return get(ctx, rest[0], rest[1])
	}
	return fmt.Errorf("want serve [PATH], http [PATH], say WHERE WORDS or get WHERE FILE, not %q", args)
}

// listen makes the endpoint, prints and publishes it, and closes it when
// somebody asks this proc to end.
func listen(ctx context.Context, paths []string) (net.Listener, error) {
	lis, ep, err := sigma.NewEndpoint(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Println(ep)
	for _, path := range paths {
		if err := sigma.Publish(ctx, path, ep); err != nil {
			return nil, err
		}
	}
	go func() {
		sigma.WaitKill(ctx)
		lis.Close()
	}()
	return lis, sigma.Started(ctx)
}

// dial connects with an endpoint, or with what is published at a path.
func dial(ctx context.Context, where string) (net.Conn, error) {
	if strings.HasPrefix(where, "/") {
		return sigma.DialPath(ctx, where)
	}
	return sigma.Dial(ctx, sigma.Endpoint(where))
}

func serve(ctx context.Context, paths []string) error {
	lis, err := listen(ctx, paths)
	if err != nil {
		return err
	}
	for {
		conn, err := lis.Accept()
		if err != nil {
			return nil // closed
		}
		peer, _ := sigma.PeerOf(conn)
		fmt.Fprintf(os.Stderr, "connection from %s%s\n", peer.Proc, peer.Address)
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

func serveHTTP(ctx context.Context, paths []string) error {
	lis, err := listen(ctx, paths)
	if err != nil {
		return err
	}
	http.Serve(lis, http.FileServer(http.Dir("/etc")))
	return nil
}

func say(ctx context.Context, where, words string) error {
	conn, err := dial(ctx, where)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, words+"\n"); err != nil {
		return err
	}
	conn.(*sigma.Conn).CloseWrite()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

func get(ctx context.Context, where, file string) error {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, where) },
	}}
	r, err := client.Get("http://sigma" + file)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", file, r.Status)
	}
	_, err = io.Copy(os.Stdout, r.Body)
	return err
}
