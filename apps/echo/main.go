// Echo is the example of endpoints: it serves on one, and dials it.
//
//	echo serve               makes an endpoint, prints it, and echoes what comes
//	echo http                the same with a plain net/http server of its jail's /etc
//	echo say ENDPOINT WORDS  sends the words and prints what comes back
//	echo get ENDPOINT PATH   a plain net/http client on the dialler
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
	case verb == "serve":
		return serve(ctx)
	case verb == "http":
		return serveHTTP(ctx)
	case verb == "say" && len(rest) >= 2:
		return say(ctx, sigma.Endpoint(rest[0]), strings.Join(rest[1:], " "))
	case verb == "get" && len(rest) == 2:
		return get(ctx, sigma.Endpoint(rest[0]), rest[1])
	}
	return fmt.Errorf("want serve, http, say ENDPOINT WORDS or get ENDPOINT PATH, not %q", args)
}

// listen makes the endpoint, prints it, and closes it when somebody asks this
// proc to end.
func listen(ctx context.Context) (net.Listener, error) {
	lis, ep, err := sigma.NewEndpoint(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Println(ep)
	go func() {
		sigma.WaitKill(ctx)
		lis.Close()
	}()
	return lis, sigma.Started(ctx)
}

func serve(ctx context.Context) error {
	lis, err := listen(ctx)
	if err != nil {
		return err
	}
	for {
		conn, err := lis.Accept()
		if err != nil {
			return nil // closed
		}
		peer, _ := sigma.PeerOf(conn)
		fmt.Fprintf(os.Stderr, "connection from %s\n", peer.Proc)
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

func serveHTTP(ctx context.Context) error {
	lis, err := listen(ctx)
	if err != nil {
		return err
	}
	http.Serve(lis, http.FileServer(http.Dir("/etc")))
	return nil
}

func say(ctx context.Context, ep sigma.Endpoint, words string) error {
	conn, err := sigma.Dial(ctx, ep)
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

func get(ctx context.Context, ep sigma.Endpoint, path string) error {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return sigma.Dial(ctx, ep) },
	}}
	r, err := client.Get("http://sigma" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", path, r.Status)
	}
	_, err = io.Copy(os.Stdout, r.Body)
	return err
}
