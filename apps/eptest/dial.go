package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

const patience = 30 * time.Second // for one dial

func attempt(ctx context.Context, t api.Target) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begin := time.Now()
	conn, err := sigma.Self().DialTarget(ctx, t)
	took := time.Since(begin)
	if err == nil {
		if p, _ := sigma.PeerOf(conn); t.Endpoint != "" && p.Endpoint != t.Endpoint {
			err = fmt.Errorf("dialled %s and reached %s", t.Endpoint, p.Endpoint)
		}
		conn.Close()
	}
	return took, err
}

func dial(ctx context.Context, args []string) error {
	for _, a := range args {
		took, err := attempt(ctx, api.Target{Endpoint: api.Endpoint(a)})
		line(a, err, took)
	}
	return nil
}

func external(ctx context.Context, args []string) error {
	for _, a := range args {
		took, err := attempt(ctx, api.Target{External: a})
		line(a, err, took)
	}
	return nil
}

func flood(ctx context.Context, args []string) error {
	if err := sigma.Started(ctx); err != nil {
		return err
	}
	end := time.Now().Add(time.Duration(number(args, 1, 1)) * time.Second)
	var mu sync.Mutex
	kinds := make(map[api.Kind]int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for time.Now().Before(end) {
				_, err := attempt(ctx, api.Target{Endpoint: api.Endpoint(args[0])})
				mu.Lock()
				kinds[api.KindOf(err)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return report(kinds)
}

// hoard keeps connections with an endpoint, or a service named with a @.
func hoard(ctx context.Context, args []string) error {
	t := api.Target{Endpoint: api.Endpoint(args[0])}
	if s, ok := strings.CutPrefix(args[0], "@"); ok {
		t = api.Target{Service: s}
	}
	made := 0
	var last error
	for range number(args, 1, 1) {
		conn, err := sigma.Self().DialTarget(ctx, t)
		if err != nil {
			last = err
			break
		}
		defer conn.Close()
		made++
	}
	line(fmt.Sprint(made), last, 0)
	return stay(ctx)
}

// delays is what delay reports, in µs.
type delays struct {
	P50, P99, Max int64
	Failed        int
}

func delay(ctx context.Context, args []string) error {
	var all []time.Duration
	var d delays
	for range number(args, 1, 100) {
		took, err := attempt(ctx, api.Target{Endpoint: api.Endpoint(args[0])})
		if err != nil {
			d.Failed++
			continue
		}
		all = append(all, took)
		time.Sleep(time.Millisecond)
	}
	slices.Sort(all)
	d.P50, d.P99, d.Max = quantile(all, 0.5).Microseconds(), quantile(all, 0.99).Microseconds(), quantile(all, 1).Microseconds()
	return report(d)
}
