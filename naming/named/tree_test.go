package named

import (
	"testing"

	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
)

func TestConformance(t *testing.T) {
	cfg := treetest.All()
	// A fence is checked against the election's file in this tree; see
	// TestFencesFollowTheElection.
	cfg.Fences = false
	cfg.MaxFile = maxFileSize
	cfg.History = 300
	h := newHost(t, "n1", func(c *Config) { c.Limits.Events = 300 })
	cfg.Realm = "conformance"
	treetest.Run(t, cfg, func(t *testing.T) tree.FS {
		ctx := tctx(t)
		if _, err := etcd(t).Put(ctx, realmPrefix+cfg.Realm, "{}"); err != nil {
			t.Fatal(err)
		}
		if err := h.DropRealm(ctx, cfg.Realm); err != nil {
			t.Fatal(err)
		}
		return h.tree(t, cfg.Realm)
	})
}
