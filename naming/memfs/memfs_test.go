package memfs

import (
	"testing"

	"sigmaos/internal/leaktest"
	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestTree(t *testing.T) {
	cfg := treetest.All()
	cfg.MaxFile, cfg.History = 1<<20, 500
	treetest.Run(t, cfg, func(t *testing.T) tree.FS {
		fs := New(Options{MaxFile: cfg.MaxFile, History: cfg.History})
		t.Cleanup(func() { fs.Close() })
		return maybeMutant(fs)
	})
}
