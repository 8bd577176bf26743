package named

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// removedPrefix + a node's number: it was removed, and no node has that number
// again.
const removedPrefix = "/sigma/v1/removed/"

// Removed is a node that was removed from the cluster.
type Removed struct {
	Version int       `json:"version"`
	Node    string    `json:"node"`
	Time    time.Time `json:"time"`
}

// RemoveNode bars a node for ever and gives its name free.
func RemoveNode(ctx context.Context, c *clientv3.Client, node string) (number uint16, err error) {
	key := "/sigma/v1/nodes/" + node
	r, err := c.Get(ctx, key)
	if err != nil {
		return 0, api.E(api.Unavailable, "node rm", node, "%v", err)
	}
	if len(r.Kvs) == 0 {
		return 0, api.E(api.NotFound, "node rm", node, "the cluster has no node of this name, alive or not (sigmactl node ls)")
	}
	state, err := strconv.ParseUint(string(r.Kvs[0].Value), 10, 64)
	if err != nil {
		return 0, api.E(api.Internal, "node rm", node, "its record is damaged: %v", err)
	}
	number = uint16(state >> 32)
	b, err := json.Marshal(Removed{Version: 1, Node: node, Time: time.Now().UTC()})
	if err != nil {
		return 0, err
	}
	_, err = c.Txn(ctx).Then(
		clientv3.OpPut(removedKey(number), string(b)),
		clientv3.OpDelete(key), clientv3.OpDelete("/sigma/v1/node-keys/"+node),
	).Commit()
	if err != nil {
		return 0, api.E(api.Unavailable, "node rm", node, "%v", err)
	}
	return number, nil
}

func removedKey(number uint16) string { return removedPrefix + strconv.Itoa(int(number)) }

// ListRemoved reads who was removed, by number.
func ListRemoved(ctx context.Context, c *clientv3.Client) (map[uint16]string, int64, error) {
	r, err := c.Get(ctx, removedPrefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, fmt.Errorf("named: reading the removed nodes: %w", err)
	}
	out := make(map[uint16]string)
	for _, kv := range r.Kvs {
		n, err := strconv.ParseUint(strings.TrimPrefix(string(kv.Key), removedPrefix), 10, 16)
		var v Removed
		if err == nil && json.Unmarshal(kv.Value, &v) == nil && v.Version == 1 {
			out[uint16(n)] = v.Node
		}
	}
	return out, r.Header.Revision, nil
}

// WatchRemoved calls fn with all that were removed, at first and whenever there
// is another one, until ctx ends.
func WatchRemoved(ctx context.Context, c *clientv3.Client, fn func(map[uint16]string)) {
	for ctx.Err() == nil {
		rctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		all, rev, err := ListRemoved(rctx, c)
		cancel()
		if err == nil {
			fn(all)
			wctx, stop := context.WithCancel(ctx)
			for r := range c.Watch(wctx, removedPrefix, clientv3.WithPrefix(), clientv3.WithRev(rev+1)) {
				if len(r.Events) > 0 || r.Err() != nil {
					break
				}
			}
			stop()
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
