package named

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Boot gives a node its number in the cluster, the same at every start, and
// the number of this boot, never the same twice. Both are in proc ids.
func Boot(ctx context.Context, c *clientv3.Client, node string) (number uint16, boot uint32, err error) {
	for try := 0; try < 100; try++ {
		n, b, ok, err := bootOnce(ctx, c, node)
		if err != nil {
			return 0, 0, fmt.Errorf("named: numbering node %s: %w", node, err)
		}
		if ok {
			return n, b, nil
		}
	}
	return 0, 0, fmt.Errorf("named: numbering node %s: other nodes are always faster", node)
}

func bootOnce(ctx context.Context, c *clientv3.Client, node string) (uint16, uint32, bool, error) {
	const next = "/sigma/v1/nodes-next"
	key := "/sigma/v1/nodes/" + node
	resp, err := c.Txn(ctx).Then(clientv3.OpGet(next), clientv3.OpGet(key)).Commit()
	if err != nil {
		return 0, 0, false, err
	}
	read := func(i int) (v uint64, rev int64) {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			v, _ = strconv.ParseUint(string(kvs[0].Value), 10, 64)
			rev = kvs[0].ModRevision
		}
		return v, rev
	}
	count, countRev := read(0)
	state, rev := read(1) // number<<32 | boot
	ops := []clientv3.Op{}
	cmp := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", rev)}
	if rev == 0 {
		count++
		if count > 1<<16-1 {
			return 0, 0, false, fmt.Errorf("all %d node numbers are given out", 1<<16-1)
		}
		state = count << 32
		ops = append(ops, clientv3.OpPut(next, strconv.FormatUint(count, 10)))
		cmp = append(cmp, clientv3.Compare(clientv3.ModRevision(next), "=", countRev))
	}
	state++
	ops = append(ops, clientv3.OpPut(key, strconv.FormatUint(state, 10)))
	done, err := c.Txn(ctx).If(cmp...).Then(ops...).Commit()
	if err != nil {
		return 0, 0, false, err
	}
	return uint16(state >> 32), uint32(state), done.Succeeded, nil
}
