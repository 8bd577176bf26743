package roles

import (
	"context"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/naming/named"
)

// countedEtcd counts what the names ask of etcd: writes and their bytes.
type countedEtcd struct {
	named.Etcd
	writes, bytes atomic.Int64
}

func (c *countedEtcd) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	if n, write := size(op); write {
		c.writes.Add(1)
		c.bytes.Add(n)
	}
	return c.Etcd.Do(ctx, op)
}

// size is the bytes of an operation's keys and values.
func size(op clientv3.Op) (n int64, write bool) {
	if op.IsTxn() {
		cmps, then, els := op.Txn()
		for _, c := range cmps {
			n += int64(len(c.KeyBytes()))
		}
		for _, o := range append(then, els...) {
			m, w := size(o)
			n, write = n+m, write || w
		}
		return n, write
	}
	return int64(len(op.KeyBytes()) + len(op.ValueBytes())), op.IsPut() || op.IsDelete()
}
