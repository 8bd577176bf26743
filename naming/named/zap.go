package named

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// What etcd says around a snapshot, from the goroutine that writes it.
const (
	beforeSnapshot = "triggering snapshot"
	afterSnapshot  = "saved snapshot to disk"
)

// zap lets etcd's errors into our log, and hears of its snapshots; the rest is its own
// affair.
func (p *Peer) zap() *zap.Logger {
	return zap.New(core{log: p.log, muted: p.muted, room: p.room})
}

type core struct {
	log    *slog.Logger
	muted  *atomic.Bool // while we stop it, what it says of that is no news
	room   *space
	fields []zapcore.Field
}

func (c core) Enabled(l zapcore.Level) bool {
	return l == zapcore.InfoLevel || l >= zapcore.ErrorLevel && !c.muted.Load()
}

func (c core) With(f []zapcore.Field) zapcore.Core {
	c.fields = slices.Concat(c.fields, f)
	return c
}

func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	switch {
	case e.Message == beforeSnapshot:
		c.room.yield()
	case e.Message == afterSnapshot:
		c.room.again()
	case e.Level >= zapcore.ErrorLevel && c.Enabled(e.Level):
		return ce.AddCore(e, c)
	}
	return ce
}

func (c core) Write(e zapcore.Entry, f []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, x := range slices.Concat(c.fields, f) {
		x.AddTo(enc)
	}
	args := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		args = append(args, k, v)
	}
	if e.Level > zapcore.ErrorLevel { // zap ends the process behind this line
		c.log.Error("etcd cannot go on, and ends this sigmad; what was acknowledged is on the disk: see that it has room and works, and start sigmad again",
			append(args, "etcd", e.Message, "dir", c.room.dir)...)
		return nil
	}
	c.log.Log(context.Background(), slog.LevelWarn, "etcd: "+e.Message, args...)
	return nil
}

func (c core) Sync() error { return nil }
