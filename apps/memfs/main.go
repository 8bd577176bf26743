// Memfs is the example of a proc that serves a part of its realm's name space:
// files in its own memory, at the path that it is told.
package main

import (
	"context"
	"fmt"
	"os"

	"sigmaos/sigma"
	"sigmaos/sigma/fileserver"
)

func serve(ctx context.Context, path string) error {
	lis, ep, err := sigma.NewEndpoint(ctx)
	if err != nil {
		return err
	}
	if err := sigma.Publish(ctx, path, ep); err != nil {
		return err
	}
	go func() {
		sigma.WaitKill(ctx)
		lis.Close()
	}()
	sigma.Started(ctx)
	return fileserver.Serve(ctx, lis, fileserver.NewMemory())
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: memfs PATH")
		os.Exit(2)
	}
	if err := serve(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "memfs:", err)
		sigma.Exited(sigma.Status{Code: 1, Message: err.Error()})
		os.Exit(1)
	}
	sigma.Exited(sigma.Status{})
}
