package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"sigmaos/sigma"
)

// lingering is how long a server that is asked to end goes on after the last
// connection: clients that had its name before it was removed are still on their way.
const lingering = time.Second

// serve answers lines at a path until it is asked to end. Then no name leads to it
// any more, and it ends when the connections that it has do: nobody who was greeted
// is left without an answer.
func serve(ctx context.Context, path string) error {
	lis, ep, err := sigma.NewEndpoint(ctx)
	if err != nil {
		return err
	}
	came := make(chan struct{}, 1)
	var open sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return // closed
			}
			select {
			case came <- struct{}{}:
			default:
			}
			open.Go(func() { answer(conn) })
		}
	}()
	if err := sigma.Publish(ctx, path, ep); err != nil {
		return err
	}
	sigma.Started(ctx)
	sigma.WaitKill(ctx)
	if err := sigma.Remove(ctx, path); err != nil {
		fmt.Println(err) // it goes with the proc, then
	}
	for quiet := false; !quiet; {
		select {
		case <-came:
		case <-time.After(lingering):
			quiet = true
		}
	}
	lis.Close()
	<-done
	open.Wait()
	return nil
}

// answer greets, and sends back every line.
func answer(conn net.Conn) {
	defer conn.Close()
	io.WriteString(conn, "welcome\n")
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		if err == nil {
			_, err = io.WriteString(conn, line)
		}
		if err != nil {
			return
		}
	}
}
