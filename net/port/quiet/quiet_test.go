package quiet

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sigmaos/internal/clock"
)

func TestAFloodIsCounted(t *testing.T) {
	var out bytes.Buffer
	clk := clock.NewFake(time.Unix(0, 0))
	l := New(slog.New(slog.NewTextHandler(&out, nil)), clk)
	sub := l.With("part", "x").WithGroup("g")
	for range 500 {
		l.Debug("below the level: costs nothing")
		l.Info("line")
		sub.Warn("line")
	}
	if n := strings.Count(out.String(), "\n"); n != burst {
		t.Errorf("%d lines passed, want %d", n, burst)
	}
	out.Reset()
	clk.Advance(2500 * time.Millisecond)
	for range 10 {
		l.Info("later")
	}
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "dropped=980") {
		t.Errorf("after 2.5 s passed %q; want 2 lines, the first with dropped=980", got)
	}
	out.Reset()
	clk.Advance(time.Hour)
	for range 100 {
		l.Info("much later")
	}
	if n := strings.Count(out.String(), "\n"); n != burst {
		t.Errorf("%d lines passed after an hour, want %d", n, burst)
	}
}
