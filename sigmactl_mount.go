package main

import (
	"context"
	"log/slog"
	"os"

	"sigmaos/ctl"
	"sigmaos/naming/export"
	"sigmaos/naming/fusemount"
	"sigmaos/naming/view"
)

func quietLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// mountRealm is sigmactl mount.
func mountRealm(ctx context.Context, connect ctl.Connect, o ctl.MountOptions) error {
	src := view.NewNames(connect)
	defer src.Close()
	return fusemount.Run(ctx, fusemount.Options{
		Dir: o.Dir, Source: src, Name: o.Name, Others: o.Others, ReadOnly: o.ReadOnly, Log: quietLog(), Ready: o.Ready, Busy: o.Busy,
	})
}

// serve9P is sigmactl 9p-serve.
func serve9P(ctx context.Context, connect ctl.Connect, o ctl.ServeOptions) error {
	src := view.NewNames(connect)
	defer src.Close()
	return export.Local(ctx, export.LocalOptions{Addr: o.Addr, Source: src, Log: quietLog(), Ready: o.Ready})
}
