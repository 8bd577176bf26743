package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"sigmaos/sigma"
)

func serve(ctx context.Context, args []string) error {
	for range number(args, 0, 1) {
		lis, ep, err := sigma.NewEndpoint(ctx)
		if err != nil {
			return err
		}
		fmt.Println(ep)
		go func() {
			for {
				conn, err := lis.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					io.Copy(conn, conn)
				}()
			}
		}()
	}
	return stay(ctx)
}

// stay says Started and returns when somebody asks this proc to end.
func stay(ctx context.Context) error {
	if err := sigma.Started(ctx); err != nil {
		return err
	}
	sigma.WaitKill(ctx)
	return nil
}

func many(ctx context.Context, args []string) error {
	want, made := number(args, 0, 1), 0
	var last error
	for range want {
		_, _, err := sigma.NewEndpoint(ctx)
		if err != nil {
			last = err
			break
		}
		made++
	}
	line(fmt.Sprint(made), last, 0)
	return stay(ctx)
}

func keep(ctx context.Context, _ []string) error {
	_, ep, err := sigma.NewEndpoint(ctx)
	if err != nil {
		return err
	}
	fmt.Println(ep)
	return stay(ctx)
}

func churn(ctx context.Context, args []string) error {
	if err := sigma.Started(ctx); err != nil {
		return err
	}
	n := 0
	for end := time.Now().Add(time.Duration(number(args, 0, 1)) * time.Second); time.Now().Before(end); n++ {
		lis, _, err := sigma.NewEndpoint(ctx)
		if err != nil {
			return err
		}
		if err := lis.Close(); err != nil {
			return err
		}
	}
	return report(map[string]int{"made": n})
}
