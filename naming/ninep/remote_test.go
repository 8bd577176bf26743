package ninep

import (
	"testing"

	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
)

// A tree is the same at both ends of the wire, whatever the size of messages.
func TestTreeBehindTheWire(t *testing.T) {
	for name, o := range map[string]Options{"default": {}, "small messages": {Msize: 16 << 10}} {
		t.Run(name, func(t *testing.T) {
			cfg := treetest.All()
			cfg.MaxFile, cfg.History = 1<<20, 500
			if o.Msize != 0 {
				cfg.MaxPut = 12 << 10
			}
			treetest.Run(t, cfg, func(t *testing.T) tree.FS {
				return &perCaller{t: t, fs: newMem(t, memfs.Options{MaxFile: cfg.MaxFile, History: cfg.History}), o: o, version: versionSigma}
			})
		})
	}
}

// With a server that has none of σ's additions, what can be done is done.
func TestTreeBehindPlainMessages(t *testing.T) {
	cfg := treetest.Config{Symlinks: true, Rename: true, Unlinked: true, Append: true, Foreign: true, MaxFile: 1 << 20}
	treetest.Run(t, cfg, func(t *testing.T) tree.FS {
		return &perCaller{t: t, fs: newMem(t, memfs.Options{MaxFile: cfg.MaxFile}), version: versionPlain}
	})
}
