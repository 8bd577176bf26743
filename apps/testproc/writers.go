package main

import (
	"context"
	"fmt"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// scribble makes a file in a directory every 50 ms, and prints of each: its number,
// when it was begun (ns of 1970), and "ok" or the kind of the error.
func scribble(ctx context.Context, dir string) error {
	sigma.Started(ctx)
	for i := 0; ; i++ {
		begin := time.Now()
		wctx, cancel := context.WithTimeout(ctx, time.Second)
		_, err := sigma.PutFile(wctx, fmt.Sprintf("%s/%d", dir, i), nil, sigma.Exclusive())
		cancel()
		what := "ok"
		if err != nil {
			what = string(api.KindOf(err))
		}
		fmt.Println(i, begin.UnixNano(), what)
		time.Sleep(50 * time.Millisecond)
	}
}

// lead has a term at path, one after the other, and while it lasts appends a line
// with its epoch and who this is to a log every 50 ms, under the term's fence.
func lead(ctx context.Context, path, who string) error {
	sigma.Started(ctx)
	for {
		t, err := sigma.Elect(ctx, path, []byte(who))
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		for alive := true; alive; {
			wctx, cancel := context.WithTimeout(ctx, time.Second)
			_, err := t.Names().PutFile(wctx, path+".log", fmt.Appendf(nil, "%d %s\n", t.Epoch(), who), sigma.Append())
			cancel()
			select {
			case <-t.Lost():
				alive = false
			case <-time.After(50 * time.Millisecond):
				alive = api.KindOf(err) != api.Conflict
			}
		}
		rctx, cancel := context.WithTimeout(ctx, time.Second)
		t.Resign(rctx)
		cancel()
	}
}
