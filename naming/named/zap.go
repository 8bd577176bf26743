package named

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo lets etcd's warnings and errors into our log; the rest is its own
// affair.
func zapTo(log *slog.Logger, muted *atomic.Bool) *zap.Logger {
	return zap.New(core{log: log, muted: muted})
}

type core struct {
	log    *slog.Logger
	muted  *atomic.Bool // while we stop it, what it says of that is no news
	fields []zapcore.Field
}

func (c core) Enabled(l zapcore.Level) bool { return l >= zapcore.ErrorLevel && !c.muted.Load() }

func (c core) With(f []zapcore.Field) zapcore.Core {
	return core{log: c.log, muted: c.muted, fields: append(append([]zapcore.Field(nil), c.fields...), f...)}
}

func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c core) Write(e zapcore.Entry, f []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, x := range append(c.fields, f...) {
		x.AddTo(enc)
	}
	args := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		args = append(args, k, v)
	}
	c.log.Log(context.Background(), slog.LevelWarn, "etcd: "+e.Message, args...)
	return nil
}

func (c core) Sync() error { return nil }
