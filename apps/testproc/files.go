package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"sigmaos/api"
	"sigmaos/sigma"
)

var errSeen = errors.New("seen")

// files makes every call on files of the paper's Table 1, in a directory of its own.
func files(ctx context.Context, dir string) error {
	abs, err := sigma.AbsPath(ctx, dir)
	if err != nil {
		return err
	}
	if err := sigma.Mkdir(ctx, dir, 0o775); err != nil {
		return err
	}
	told, ended, ready := make(chan sigma.Event, 64), make(chan error, 1), make(chan struct{})
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		begun := false
		ended <- sigma.Watch(wctx, dir, 0, func(_ uint64, ev []sigma.Event) error {
			if !begun {
				begun = true
				close(ready)
			}
			for _, e := range ev {
				if e.Kind != sigma.Changed {
					told <- e
				}
			}
			return nil
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		return err
	}
	if err := writeAndRead(ctx, dir, abs); err != nil {
		return err
	}
	var last uint64
	for _, want := range []struct {
		kind any
		name string
	}{{sigma.Created, "a"}, {sigma.Renamed, "a"}, {sigma.Created, "b"}, {sigma.Removed, "b"}} {
		select {
		case e := <-told:
			if any(e.Kind) != want.kind || e.Name != want.name || e.Version < last {
				return fmt.Errorf("told is %+v behind version %d, not %v of %s", e, last, want.kind, want.name)
			}
			last = e.Version
		case err := <-ended:
			return fmt.Errorf("the watch ends: %w", err)
		}
	}
	stop()
	if err := <-ended; api.KindOf(err) != api.Canceled {
		return fmt.Errorf("the watch ends with %w", err)
	}
	return sigma.Remove(ctx, dir)
}

// writeAndRead makes dir/a, which becomes b and goes; abs is another path to dir.
func writeAndRead(ctx context.Context, dir, abs string) error {
	f, err := sigma.Create(ctx, dir+"/a")
	if err != nil {
		return err
	}
	four := make([]byte, 4)
	if _, err := f.Write([]byte("hello")); err != nil {
		return err
	}
	if at, err := f.Seek(-4, io.SeekCurrent); at != 1 || err != nil {
		return fmt.Errorf("seek is at %d, %w", at, err)
	}
	if n, err := f.Read(four); string(four) != "ello" {
		return fmt.Errorf("what is read is %d, %q, %w", n, four, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := sigma.Rename(ctx, dir+"/a", dir+"/b"); err != nil {
		return err
	}
	if i, err := sigma.Stat(ctx, abs+"/b"); err != nil || i.Size() != 5 {
		return fmt.Errorf("stat says %+v, %w", i, err)
	}
	r, err := sigma.Open(ctx, abs+"/b")
	if err != nil {
		return err
	}
	defer r.Close()
	if b, err := io.ReadAll(r); string(b) != "hello" {
		return fmt.Errorf("read is %q, %w", b, err)
	}
	err = sigma.OpenWatch(ctx, dir, func(ev []sigma.Event) error {
		if len(ev) != 1 || ev[0].Name != "b" {
			return fmt.Errorf("OpenWatch tells %+v", ev)
		}
		return errSeen
	})
	if err != errSeen {
		return err
	}
	return sigma.Remove(ctx, dir+"/b")
}
