// Package quiet is a logger that strangers cannot flood: whoever can reach a
// port can make it write lines, so those lines are counted and, over a rate,
// dropped. The next one that passes says how many were.
package quiet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sigmaos/internal/clock"
)

const (
	burst = 20
	every = time.Second // one more line
)

// New returns a logger that passes at most 20 lines at once and one a second
// after that, whatever their level, to l. Loggers made from it share the bound.
func New(l *slog.Logger, clk clock.Clock) *slog.Logger {
	return slog.New(&handler{l.Handler(), &bucket{clk: clk, last: clk.Monotonic(), left: burst}})
}

type handler struct {
	slog.Handler
	b *bucket
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	dropped, ok := h.b.take()
	if !ok {
		return nil
	}
	if dropped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("dropped", dropped))
	}
	return h.Handler.Handle(ctx, r)
}

func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(as), h.b}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.b}
}

type bucket struct {
	clk clock.Clock

	mu      sync.Mutex
	last    time.Duration
	left    int
	dropped int
}

// take reports whether a line may pass, and how many were dropped before it.
func (b *bucket) take() (dropped int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := int((b.clk.Monotonic() - b.last) / every); n > 0 {
		b.left = min(burst, b.left+n)
		b.last += time.Duration(n) * every
	}
	if b.left == 0 {
		b.dropped++
		return 0, false
	}
	b.left--
	dropped, b.dropped = b.dropped, 0
	return dropped, true
}
