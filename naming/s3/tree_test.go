package s3_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/s3"
	"sigmaos/naming/s3/s3test"
	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var caller = api.Caller{Node: "n1", Realm: "r1", User: "alice"}

// inBucket is one bucket as a tree.
type inBucket struct {
	tree.FS
	name string
}

func (b inBucket) Attach(ctx context.Context, c api.Caller, aname string, f *tree.Fence) (tree.File, error) {
	return b.FS.Attach(ctx, c, "/"+b.name+"/"+aname, f)
}

// serve makes a server of one store for all realms.
func serve(t testing.TB, st s3.Store, cfg s3.Config) *s3.Server {
	if cfg.Store == nil {
		cfg.Store = func(context.Context, string) (s3.Store, error) { return st, nil }
	}
	if cfg.Gap == 0 {
		cfg.Gap = 100 * time.Millisecond
	}
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s := s3.New(cfg)
	t.Cleanup(func() { s.Close() })
	return s
}

var buckets atomic.Int64

// bucket makes one and returns its place.
func bucket(t testing.TB, s *s3.Server) tree.File {
	t.Helper()
	root, err := s.FS().Attach(context.Background(), caller, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("bucket-%d", buckets.Add(1))
	f, err := root.Create(context.Background(), name, tree.NewFile{Mode: tree.ModeDir | 0o775, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	names.Store(f, name)
	return f
}

// names are those of the buckets that were made.
var names sync.Map

func nameOf(t testing.TB, f tree.File) string {
	t.Helper()
	name, ok := names.Load(f)
	if !ok {
		t.Fatal("no bucket of ours")
	}
	return name.(string)
}

func TestTree(t *testing.T) {
	_, st := s3test.Start(t)
	treetest.Run(t, treetest.Config{Objects: true, NoReplay: false}, func(t *testing.T) tree.FS {
		s := serve(t, st, s3.Config{})
		bucket(t, s)
		return inBucket{s.FS(), fmt.Sprintf("bucket-%d", buckets.Load())}
	})
}
