package rpc

import (
	"context"
	"io"
	"math/rand"
	"runtime"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
)

// Everything at once, given up at any moment: each result is the right one or
// the caller's own end, and afterwards both sides' books are empty.
func TestStormLeavesNothingBehind(t *testing.T) {
	s := testServer(Options{MaxCalls: 64, Window: 16 << 10, MaxBytes: 8 << 20})
	a, b := socketpair(t)
	ses := &session{methods: &s.methods}
	ses.init(b, s.opt, roleServer)
	served := make(chan error, 1)
	go func() { served <- ses.serve(bg) }()
	c := NewClient(a, Options{Window: 16 << 10, Heartbeat: time.Millisecond, Silence: time.Hour})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			random := rand.New(rand.NewSource(int64(i)))
			for range 60 {
				ctx, cancel := context.WithTimeout(bg, time.Duration(random.Intn(3000))*time.Microsecond)
				if random.Intn(3) > 0 {
					cancel()
					ctx, cancel = context.WithTimeout(bg, patience)
				}
				if err := stormStep(ctx, c, random); err != nil {
					if k := api.KindOf(err); k != api.Deadline && k != api.Canceled && k != api.Busy {
						t.Errorf("in a storm: %v", err)
					}
					if k := api.KindOf(err); k == api.Deadline {
						if at, _ := ctx.Deadline(); time.Until(at) > time.Second {
							t.Errorf("Deadline %v before its time: %v", time.Until(at), err)
						}
					}
				}
				cancel()
			}
		}()
	}
	wg.Wait()
	for quiet := false; !quiet; runtime.Gosched() {
		ses.mu.Lock()
		quiet = ses.held == 0 && ses.late == 0
		for _, j := range ses.jobs {
			quiet = quiet && j == nil
		}
		ses.mu.Unlock()
		quiet = quiet && c.usedNumbers() == 0
	}
	if err := c.Err(); err != nil {
		t.Errorf("the connection ended: %v", err)
	}
	c.Close()
	if err := <-served; err != nil && api.KindOf(err) != api.Unavailable { // a pong that was not read makes the end a reset
		t.Errorf("ServeConn: %v", err)
	}
}

func stormStep(ctx context.Context, c *Client, random *rand.Rand) error {
	size := random.Intn(8 << 10)
	n := random.Intn(1 << 30)
	wrong := api.E(api.Internal, "storm", "", "a wrong answer")
	switch random.Intn(5) {
	case 0, 1:
		got, err := c.Call(ctx, []string{"echo", "inline"}[random.Intn(2)], numbered(n, size))
		if err == nil && (number(got) != n || len(got) != max(size, 8)) {
			return wrong
		}
		return err
	case 2:
		done := make(chan error, 1)
		err := c.Go(ctx, "echo", numbered(n, size), func(got []byte, err error) {
			if err == nil && number(got) != n {
				err = wrong
			}
			done <- err
		})
		if err != nil {
			return err
		}
		return <-done
	case 3:
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Duration(random.Intn(1000))*time.Microsecond, cancel)
		_, err := c.Call(ctx, "wait", nil)
		return err
	}
	st, err := c.Stream(ctx, "echo stream")
	if err != nil {
		return err
	}
	defer st.Close()
	messages := random.Intn(40)
	go func() {
		for i := range messages {
			if st.Send(numbered(n+i, size)) != nil {
				return
			}
		}
		st.CloseSend()
	}()
	for i := 0; ; i++ {
		got, err := st.Recv()
		switch {
		case err == io.EOF && i == messages:
			return nil
		case err != nil && err != io.EOF:
			return err
		case err == io.EOF || number(got) != n+i || len(got) != max(size, 8):
			return wrong
		case random.Intn(100) == 0:
			return nil // given up
		}
	}
}
