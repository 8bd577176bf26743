package named

import (
	"context"
	"time"
)

// etcd keeps every version of every key for the five minutes after which it
// compacts, and a tenant that writes 1 MiB again and again would fill its
// database with them. So the leading peer compacts earlier when the database
// has grown to half of its quota: pages that are freed are used again before the
// other half is needed. What it costs is that watches cannot resume across the
// next change of leaders.
const (
	compactEvery = time.Second
	compactParts = 16 // it grows by a 16th of the quota from one time to the next
)

// compactor decides when.
type compactor struct {
	quota int64
	floor int64 // bytes in use after the last compaction, as far as seen
}

// due reports whether inUse bytes ask for a compaction.
func (c *compactor) due(inUse int64) bool {
	c.floor = min(c.floor, inUse)
	if inUse < c.quota/2 || inUse < c.floor+c.quota/compactParts {
		return false
	}
	c.floor = inUse
	return true
}

// compactLoop runs until ctx ends.
func (p *Peer) compactLoop(ctx context.Context, quota int64, every time.Duration) {
	c := compactor{quota: quota}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := p.etcd.Server
		if s.Leader() != s.MemberID() || !c.due(s.Backend().SizeInUse()) {
			continue
		}
		cctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		if _, err := p.client.Compact(cctx, s.KV().Rev()); err != nil && ctx.Err() == nil {
			p.log.Warn("etcd's database fills and cannot be compacted", "err", err)
		}
		cancel()
	}
}
