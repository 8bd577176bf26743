package rpc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sigmaos/api"
)

func TestStreamCarriesMessagesBothWays(t *testing.T) {
	c := connect(t, testServer(Options{}), Options{})
	for _, tc := range []struct{ messages, size int }{{0, 0}, {1, 0}, {1, 1}, {3000, 0}, {2000, 100}, {100, 50 << 10}, {20, 128 << 10}} {
		t.Run(fmt.Sprintf("%d of %d", tc.messages, tc.size), func(t *testing.T) {
			st := must[*Stream](t)(c.Stream(bg, "echo stream"))
			go func() {
				for i := range tc.messages {
					if err := st.Send(bytes.Repeat([]byte{byte(i)}, tc.size)); err != nil {
						t.Errorf("Send %d: %v", i, err)
						return
					}
				}
				st.CloseSend()
			}()
			for i := range tc.messages {
				m, err := st.Recv()
				if err != nil || len(m) != tc.size || bytes.Count(m, []byte{byte(i)}) != max(tc.size, 0) && tc.size > 0 {
					t.Fatalf("Recv %d: %d bytes, %v", i, len(m), err)
				}
			}
			for range 2 {
				if m, err := st.Recv(); err != io.EOF {
					t.Fatalf("Recv at the end: %d bytes, %v; want io.EOF", len(m), err)
				}
			}
		})
	}
}

func TestStreamEnds(t *testing.T) {
	s := NewServer(Options{})
	s.HandleStream("three and an error", func(_ context.Context, st *Stream) error {
		for i := range 3 {
			if err := st.Send(numbered(i, 8)); err != nil {
				return err
			}
		}
		return api.E(api.TooOld, "watch", "/d", "list again")
	})
	s.HandleStream("half closed", func(_ context.Context, st *Stream) error {
		st.Send([]byte("last"))
		st.CloseSend()
		for {
			if _, err := st.Recv(); err != nil {
				return api.E(api.Conflict, "", "", "at the end of yours: %v", err)
			}
		}
	})
	s.HandleStream("good end", func(_ context.Context, st *Stream) error { return nil })
	c := connect(t, s, Options{})

	t.Run("error after messages", func(t *testing.T) {
		st := must[*Stream](t)(c.Stream(bg, "three and an error"))
		for i := range 3 {
			if m, err := st.Recv(); err != nil || number(m) != i {
				t.Fatalf("Recv: %v, %v; want %d", m, err, i)
			}
		}
		for range 2 {
			_, err := st.Recv()
			wantKind(t, "Recv at the end", err, api.TooOld)
			wantKind(t, "Send at the end", st.Send(nil), api.TooOld)
		}
		if err := st.CloseSend(); err != nil {
			t.Errorf("CloseSend at the end: %v", err)
		}
	})
	t.Run("half closed by the server", func(t *testing.T) {
		st := must[*Stream](t)(c.Stream(bg, "half closed"))
		if m, err := st.Recv(); string(m) != "last" {
			t.Fatalf("Recv: %q, %v", m, err)
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Fatalf("Recv after its CloseSend: %v, want io.EOF", err)
		}
		if err := st.Send([]byte("x")); err != nil {
			t.Fatalf("Send after its CloseSend: %v", err)
		}
		st.CloseSend()
		wantKind(t, "Send after CloseSend", st.Send(nil), api.Invalid)
		for {
			if _, err := st.Recv(); err != io.EOF {
				wantKind(t, "Recv", err, api.Conflict)
				break
			}
			runtime.Gosched() // the handler's error is under way
		}
	})
	t.Run("good end", func(t *testing.T) {
		st := must[*Stream](t)(c.Stream(bg, "good end"))
		if _, err := st.Recv(); err != io.EOF {
			t.Errorf("Recv: %v, want io.EOF", err)
		}
		for { // io.EOF from Recv may have been the end of its messages only
			if err := st.Send(nil); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("Send: %v, want io.EOF", err)
			}
		}
	})
}

func TestStreamCanBeGivenUp(t *testing.T) {
	ended := make(chan error, 1)
	s := NewServer(Options{})
	s.HandleStream("flood", func(_ context.Context, st *Stream) error {
		for {
			if err := st.Send(make([]byte, 1000)); err != nil {
				ended <- err
				return err
			}
		}
	})
	c := connect(t, s, Options{})
	for name, giveUp := range map[string]func(*Stream, context.CancelFunc){
		"Close": func(st *Stream, _ context.CancelFunc) { st.Close(); st.Close() },
		"ctx":   func(_ *Stream, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			st := must[*Stream](t)(c.Stream(ctx, "flood"))
			if _, err := st.Recv(); err != nil {
				t.Fatal(err)
			}
			giveUp(st, cancel)
			wantKind(t, "the handler's Send", <-ended, api.Canceled)
			var err error
			for err == nil { // ctx ends a moment later
				_, err = st.Recv()
			}
			wantKind(t, "Recv", err, api.Canceled)
			wantKind(t, "Send", st.Send(nil), api.Canceled)
		})
	}
	for c.usedNumbers() > 0 {
		runtime.Gosched()
	}
}

func (c *Client) usedNumbers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.numbers.used()
}

// Handlers learn that the connection is lost, and not that somebody gave up.
func TestHandlersOfStreamsLearnOfTheLoss(t *testing.T) {
	ended := make(chan error, 2)
	begun := make(chan struct{}, 2)
	s := NewServer(Options{})
	s.HandleStream("recv", func(_ context.Context, st *Stream) error {
		begun <- struct{}{}
		_, err := st.Recv()
		ended <- err
		return err
	})
	s.HandleStream("send", func(_ context.Context, st *Stream) (err error) {
		begun <- struct{}{}
		for err == nil {
			err = st.Send(make([]byte, 1000))
		}
		ended <- err
		return err
	})
	c := connect(t, s, Options{})
	must[*Stream](t)(c.Stream(bg, "recv"))
	must[*Stream](t)(c.Stream(bg, "send"))
	<-begun
	<-begun
	c.Close()
	for range 2 {
		wantKind(t, "a handler's stream", <-ended, api.Unavailable)
	}
}

// A reader that does not read holds up its own stream, after a window, and
// nobody else; what it did not read is bounded on both sides.
func TestFAULTS_F36_SlowReaderStopsItsOwnStreamOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 64 << 10
		var sent int
		s := testServer(Options{Window: window})
		s.HandleStream("flood", func(_ context.Context, st *Stream) error {
			for ; ; sent++ {
				if err := st.Send(numbered(sent, 1000)); err != nil {
					return err
				}
			}
		})
		c, stop := pipe(t, s, Options{Window: window})
		defer stop()
		slow := must[*Stream](t)(c.Stream(bg, "flood"))
		synctest.Wait() // the handler waits for the reader
		if sent != window/1000 {
			t.Errorf("%d messages were sent into a window of %d bytes", sent, window)
		}
		fast := must[*Stream](t)(c.Stream(bg, "echo stream"))
		for i := range 500 {
			must[any](t)(nil, fast.Send(numbered(i, 1000)))
			if m, err := fast.Recv(); err != nil || number(m) != i {
				t.Fatalf("the other stream: %v", err)
			}
			if got, err := c.Call(bg, "inline", []byte("x")); string(got) != "x" {
				t.Fatalf("a call beside it: %v", err)
			}
		}
		if got := sent; got != window/1000 {
			t.Errorf("%d messages were sent to the reader that does not read", got)
		}
		for i := range 1000 { // it reads after all, and misses nothing
			m, err := slow.Recv()
			if err != nil || number(m) != i {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		slow.Close()
		must[any](t)(nil, fast.CloseSend())
		if _, err := fast.Recv(); err != io.EOF {
			t.Fatal(err)
		}

		// The other way round: the handler is slow.
		lazy := must[*Stream](t)(c.Stream(bg, "wait stream"))
		n := 0
		for ; ; n++ {
			ctx, cancel := context.WithTimeout(bg, time.Second)
			err := lazy.SendContext(ctx, make([]byte, 1000))
			cancel()
			if err != nil {
				wantKind(t, "Send to a handler that does not read", err, api.Deadline)
				break
			}
		}
		if n != window/1000 {
			t.Errorf("%d messages went into a window of %d bytes", n, window)
		}
		lazy.Close()
	})
}

// However long messages are against the window, both sides get on.
func TestStreamNeverStalls(t *testing.T) {
	for _, window := range []int{minWindow, minWindow + 1, 10_001, 64 << 10} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			s := testServer(Options{Window: window})
			c := connect(t, s, Options{Window: window})
			var wg sync.WaitGroup
			for k := range 4 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					st, err := c.Stream(bg, "echo stream")
					if err != nil {
						t.Error(err)
						return
					}
					size := func(i int) int { return []int{window / 2, 1, window/2 - 1, window / 3, 0, window / 5}[(i+k)%6] }
					go func() {
						for i := range 300 {
							if err := st.Send(make([]byte, size(i))); err != nil {
								t.Errorf("Send %d: %v", i, err)
								return
							}
						}
						st.CloseSend()
					}()
					for i := range 300 {
						if m, err := st.Recv(); err != nil || len(m) != size(i) {
							t.Errorf("Recv %d: %d bytes, %v; want %d", i, len(m), err, size(i))
							return
						}
					}
				}()
			}
			wg.Wait()
			st := must[*Stream](t)(c.Stream(bg, "echo stream"))
			wantKind(t, "a message of more than half a window", st.Send(make([]byte, window/2+1)), api.TooLarge)
			st.Close()
		})
	}
}

// The queue of a stream that is never quite empty does not grow for ever.
func TestStreamQueueStaysShort(t *testing.T) {
	l := &link{opt: Options{}.normalize()}
	l.writer = sync.NewCond(&l.mu) // awake and busy, so that nothing is written
	st := newStream(l, 0, "", nil)
	put := func() {
		if err := st.takeLocked(frame{header: header{kind: kData}, body: make([]byte, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	put()
	for i := range 10_000 {
		put()
		st.popLocked()
		if cap(st.queue) > 1024 {
			t.Fatalf("the queue of 2 messages has room for %d after %d", cap(st.queue), i)
		}
	}
}
