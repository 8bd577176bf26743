package gossip

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// logWriter turns memberlist's lines into records. What other nodes and
// strangers do wrong is no error of ours, so nothing is above a warning.
type logWriter struct {
	log   *slog.Logger
	muted *atomic.Bool // after Close it still tells of what it finds closed
}

func (w logWriter) Write(b []byte) (int, error) {
	if w.muted.Load() {
		return len(b), nil
	}
	level, text := slog.LevelWarn, strings.TrimSpace(string(b))
	if rest, ok := strings.CutPrefix(text, "["); ok {
		name, after, _ := strings.Cut(rest, "]")
		switch name {
		case "DEBUG":
			level = slog.LevelDebug
		case "INFO":
			level = slog.LevelInfo
		}
		text = strings.TrimSpace(after)
	}
	w.log.Log(context.Background(), level, "gossip: "+strings.TrimPrefix(text, "memberlist: "))
	return len(b), nil
}
