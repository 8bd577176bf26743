package ninep

import (
	"context"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Options bounds one connection. Zero values are the defaults.
type Options struct {
	Msize    int // bytes of a message in the plain dialect; default and at most 1 MiB
	Requests int // that run at once; default 256
	Waiting  int // that wait for a turn besides; then no more is read; default 1,024
	Bytes    int // of requests and answers under way; default 8 MiB
	Fids     int // default 65,536
	Handles  int // files open at once; default 4,096
	Watches  int // default 1,024
	Unread   int // events that wait for a watcher who is slow; default 4,096

	Slow  time.Duration // after which a watcher who makes no progress is cut off; default 10 s
	Write time.Duration // for a peer that does not read; default 10 s
	Read  time.Duration // for the rest of a message that began; default 30 s

	// Through returns the directory behind an endpoint link, as c sees it. With
	// it, endpoint links look like directories to plain clients; without it, or
	// where it fails, like sockets. Clients of σ's dialect always see the link.
	Through func(ctx context.Context, link tree.Attr, c api.Caller) (tree.File, error)
}

func (o Options) withDefaults() Options {
	def(&o.Msize, maxMsize)
	o.Msize = max(minMsize, min(o.Msize, maxMsize))
	def(&o.Requests, 256)
	def(&o.Waiting, 1024)
	def(&o.Bytes, 8<<20)
	def(&o.Fids, 1<<16)
	def(&o.Handles, 4<<10)
	def(&o.Watches, 1<<10)
	def(&o.Unread, 4<<10)
	def(&o.Slow, 10*time.Second)
	def(&o.Write, 10*time.Second)
	def(&o.Read, 30*time.Second)
	return o
}

func def[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}
