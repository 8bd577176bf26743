package named

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// sharesPrefix + realm id: how much of the realm's quota which node may use.
const sharesPrefix = "/sigma/v1/shares/"

// ChangeShares replaces the shares of a realm that is there by what change makes of
// them, in one step: when somebody else was quicker, change is called again with
// what is there then. Where it returns what it was given, nothing is written.
func ChangeShares(ctx context.Context, c *clientv3.Client, realm string, change func(old []byte) ([]byte, error)) error {
	key := sharesPrefix + realm
	fail := func(err error) error {
		return api.E(api.Unavailable, "quota", realm, "how much of the realm's quota this node may use cannot be settled: etcd: %v", err)
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		r, err := c.Get(ctx, key)
		if err != nil {
			return fail(err)
		}
		var old []byte
		var at int64
		if len(r.Kvs) > 0 {
			old, at = r.Kvs[0].Value, r.Kvs[0].ModRevision
		}
		next, err := change(old)
		if err != nil || bytes.Equal(old, next) {
			return err
		}
		t, err := c.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", at), clientv3.Compare(clientv3.CreateRevision(realmPrefix+realm), ">", 0)).
			Then(clientv3.OpPut(key, string(next))).
			Else(clientv3.OpGet(realmPrefix+realm, clientv3.WithCountOnly())).Commit()
		switch {
		case err != nil:
			return fail(err)
		case t.Succeeded:
			return nil
		case t.Responses[0].GetResponseRange().Count == 0:
			return api.E(api.NotFound, "quota", realm, "the realm is being removed")
		}
		select {
		case <-time.After(rand.N(wait)):
		case <-ctx.Done():
			return fail(ctx.Err())
		}
	}
}
