package named

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// Keys in one deletion. etcd reads the values too, to tell the keys.
const (
	dropPage  = 1000
	dropFiles = 64
)

// DropRealm deletes everything of a realm from etcd. It first takes the realm
// from whoever leads it. It may be called again, at any time and anywhere,
// until it succeeds. The realm's record is to be removed before, else the realm
// comes back empty with the next call of Tree.
func (t *Trees) DropRealm(ctx context.Context, realm string) error {
	if !validRealm(realm) {
		return noRealm(realm)
	}
	f, err := t.fly(realm, true, t.drop)
	if err != nil {
		return err
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return api.E(api.Unavailable, "realm rm", realm, "deleting its files goes on (%v)", ctx.Err())
	}
}

func (t *Trees) drop(ctx context.Context, realm string) (*term, error) {
	sess, err := t.session(ctx, realm)
	if err != nil {
		return nil, err
	}
	epoch, err := t.take(ctx, realm, sess, holder{Version: 1, Node: t.cfg.Node, Boot: t.cfg.Boot, Instance: t.instance, Removing: true})
	if err != nil {
		return nil, err
	}
	k := realmKeys(realm)
	// The id counter goes last: should this break off and somebody lead what is
	// left, no id is given out twice.
	for _, part := range []string{"d/", "i/", "l/", "r/", "log", "ids"} {
		if err := t.deletePages(ctx, k, string(k)+part, epoch); err != nil {
			t.giveBack(realm, epoch)
			return nil, api.E(api.Unavailable, "realm rm", realm, "deleting its files: %v; try again", err)
		}
	}
	return nil, t.takeAway(ctx, k.leader(), epoch)
}

func (t *Trees) deletePages(ctx context.Context, k keys, prefix string, epoch int64) error {
	end, page := clientv3.GetPrefixRangeEnd(prefix), int64(dropPage)
	if prefix == string(k)+"d/" || prefix == string(k)+"i/" {
		page = dropFiles
	}
	for {
		gctx, cancel := context.WithTimeout(ctx, t.cfg.attempt())
		resp, err := t.cfg.Etcd.Do(gctx, clientv3.OpGet(prefix, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithKeysOnly()))
		cancel()
		if err != nil {
			return err
		}
		kvs := resp.Get().Kvs
		if len(kvs) == 0 {
			return nil
		}
		last := string(kvs[len(kvs)-1].Key) + "\x00"
		done, err := t.txn(ctx, clientv3.OpTxn([]clientv3.Cmp{k.isEpoch(epoch)}, []clientv3.Op{clientv3.OpDelete(prefix, clientv3.WithRange(last))}, nil))
		if err != nil {
			return err
		}
		if !done.Succeeded {
			return api.E(api.Unavailable, "realm rm", "", "somebody else took the realm meanwhile")
		}
	}
}

// Orphans lists the realms that have files but no record: those whose removal
// broke off. DropRealm finishes it.
func (t *Trees) Orphans(ctx context.Context) (realms []string, err error) {
	for from, end := treePrefix, clientv3.GetPrefixRangeEnd(treePrefix); ; {
		gctx, cancel := context.WithTimeout(ctx, t.cfg.attempt())
		resp, err := t.cfg.Etcd.Do(gctx, clientv3.OpGet(from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly()))
		cancel()
		if err != nil {
			return nil, etcdDown("", err)
		}
		if len(resp.Get().Kvs) == 0 {
			return realms, nil
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(string(resp.Get().Kvs[0].Key), treePrefix), "/")
		from = clientv3.GetPrefixRangeEnd(treePrefix + id + "/")
		rec, err := t.txn(ctx, clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpGet(realmPrefix+id, clientv3.WithCountOnly())}, nil))
		if err != nil {
			return nil, etcdDown("", err)
		}
		if rec.Responses[0].GetResponseRange().Count == 0 {
			realms = append(realms, id)
		}
	}
}
