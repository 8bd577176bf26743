package main

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// talked is what talk reports.
type talked struct {
	Conns   int     // that were made
	Trips   int64   // there and back, of all
	Wrong   int     // other bytes came back
	Ended   int     // the other end closed, or is gone
	MaxGap  float64 // ms, the longest between two trips of one connection
	Dials   int     // tried meanwhile
	MaxDial float64 // ms, the longest of these
	Refused map[api.Kind]int
}

// talk keeps connections busy: on each a message goes there and back, again and
// again, and meanwhile it dials one more from time to time.
func talk(ctx context.Context, args []string) error {
	ep, count := api.Endpoint(args[0]), number(args, 1, 1)
	stop := time.Duration(number(args, 2, 1)) * time.Second
	r := talked{Refused: make(map[api.Kind]int)}
	var conns []net.Conn
	for range count {
		conn, err := sigma.Dial(ctx, ep)
		for tries := 0; api.KindOf(err) == api.Busy && tries < 200; tries++ { // its backlog is full
			time.Sleep(10 * time.Millisecond)
			conn, err = sigma.Dial(ctx, ep)
		}
		if err != nil {
			return err
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	r.Conns = len(conns)
	if err := sigma.Started(ctx); err != nil {
		return err
	}
	end := time.Now().Add(stop)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, conn := range conns {
		wg.Go(func() {
			trips, gap, wrong, ended := converse(conn, uint64(i), end)
			mu.Lock()
			defer mu.Unlock()
			r.Trips += trips
			r.MaxGap = max(r.MaxGap, gap.Seconds()*1000)
			if wrong {
				r.Wrong++
			}
			if ended {
				r.Ended++
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(end) {
			dctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			begin := time.Now()
			conn, err := sigma.Dial(dctx, ep)
			cancel()
			r.Dials++
			r.MaxDial = max(r.MaxDial, time.Since(begin).Seconds()*1000)
			if err != nil {
				r.Refused[api.KindOf(err)]++
			} else {
				conn.Close()
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	wg.Wait()
	return report(r)
}

// converse sends numbers and wants them back until end.
func converse(conn net.Conn, n uint64, end time.Time) (trips int64, gap time.Duration, wrong, ended bool) {
	var out, in [64]byte
	last := time.Now()
	for time.Now().Before(end) {
		n += 1 << 20
		binary.LittleEndian.PutUint64(out[:], n)
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write(out[:]); err != nil {
			return trips, gap, wrong, true
		}
		if _, err := io.ReadFull(conn, in[:]); err != nil {
			return trips, gap, wrong, true
		}
		now := time.Now()
		gap, last = max(gap, now.Sub(last)), now
		trips++
		wrong = wrong || out != in
		time.Sleep(250 * time.Millisecond)
	}
	return trips, gap, wrong, false
}
