package memfs

import (
	"testing"

	"go.uber.org/goleak"

	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTree(t *testing.T) {
	cfg := treetest.All()
	cfg.MaxFile, cfg.History = 1<<20, 500
	treetest.Run(t, cfg, func(t *testing.T) tree.FS {
		fs := New(Options{MaxFile: cfg.MaxFile, History: cfg.History})
		t.Cleanup(func() { fs.Close() })
		return maybeMutant(fs)
	})
}
