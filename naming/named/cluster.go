package named

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

const clusterKey = "/sigma/v1/cluster"

// Cluster is what a cluster is made of: whom its nodes trust and what they
// share. The first of each list is in use; the others are still accepted, while
// something is being replaced. It holds secrets and goes over etcd's own
// connections and the nodes' mTLS links only.
type Cluster struct {
	Version     int      `json:"version"`
	ID          string   `json:"id"`
	Authorities [][]byte `json:"authorities"` // pki.Authority, with their keys
	JoinTokens  []string `json:"join_tokens"`
	GossipKeys  [][]byte `json:"gossip_keys"`
	TokenKeys   [][]byte `json:"token_keys"` // that sign realms' tokens

	rev int64
}

// OpenCluster reads the cluster's record; the first node of a cluster makes it.
func OpenCluster(ctx context.Context, c *clientv3.Client, make func() (Cluster, error)) (Cluster, error) {
	r, err := c.Get(ctx, clusterKey)
	if err != nil {
		return Cluster{}, fmt.Errorf("named: reading the cluster's record: %w", err)
	}
	if len(r.Kvs) == 0 {
		n, err := make()
		if err != nil {
			return n, err
		}
		if _, err := putCluster(ctx, c, n); err != nil {
			return n, err
		}
		return OpenCluster(ctx, c, make) // another node may have been first
	}
	var n Cluster
	if err := json.Unmarshal(r.Kvs[0].Value, &n); err != nil || n.Version != 1 || len(n.Authorities) == 0 {
		return n, fmt.Errorf("named: the cluster's record is of version %d or damaged; this sigmad knows version 1 (%v)", n.Version, err)
	}
	n.rev = r.Kvs[0].ModRevision
	return n, nil
}

// PutCluster replaces the record that n was read from; false means that it has
// changed meanwhile.
func PutCluster(ctx context.Context, c *clientv3.Client, n Cluster) (bool, error) {
	return putCluster(ctx, c, n)
}

func putCluster(ctx context.Context, c *clientv3.Client, n Cluster) (bool, error) {
	n.Version = 1
	b, err := json.Marshal(n)
	if err != nil {
		return false, err
	}
	r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(clusterKey), "=", n.rev)).Then(clientv3.OpPut(clusterKey, string(b))).Commit()
	if err != nil {
		return false, fmt.Errorf("named: writing the cluster's record: %w", err)
	}
	return r.Succeeded, nil
}

// WatchCluster calls fn with the record whenever it changes, until ctx ends.
func WatchCluster(ctx context.Context, c *clientv3.Client, fn func(Cluster)) {
	for r := range c.Watch(ctx, clusterKey) {
		for _, e := range r.Events {
			var n Cluster
			if e.Type == clientv3.EventTypePut && json.Unmarshal(e.Kv.Value, &n) == nil && n.Version == 1 {
				n.rev = e.Kv.ModRevision
				fn(n)
			}
		}
	}
}

// ClaimName binds a node's name to its key, so that no other node takes it.
func ClaimName(ctx context.Context, c *clientv3.Client, node string, key crypto.PublicKey) error {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return api.E(api.Invalid, "join", node, "%v", err)
	}
	sum, k := keySum(der), "/sigma/v1/node-keys/"+node
	r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(k), "=", 0)).
		Then(clientv3.OpPut(k, sum)).Else(clientv3.OpGet(k)).Commit()
	if err != nil {
		return api.E(api.Unavailable, "join", node, "%v", err)
	}
	if !r.Succeeded && string(r.Responses[0].GetResponseRange().Kvs[0].Value) != sum {
		return api.E(api.Exists, "join", node, "another node has this name; choose one with --node, or remove that node first (sigmactl node rm %s)", node)
	}
	return nil
}

func keySum(der []byte) string {
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:])
}

// FirstNode is one of those that make a cluster together.
type FirstNode struct {
	Name   string `json:"name"`
	Number uint16 `json:"number"`
	Key    []byte `json:"key"` // public, DER
}

// FirstNodes gives the nodes of a new cluster the names and numbers of their
// certificates; in a cluster that has numbered a node it does nothing.
func FirstNodes(ctx context.Context, c *clientv3.Client, list []FirstNode) error {
	ops := []clientv3.Op{}
	for _, n := range list {
		ops = append(ops, clientv3.OpPut("/sigma/v1/nodes/"+n.Name, strconv.FormatUint(uint64(n.Number)<<32, 10)),
			clientv3.OpPut("/sigma/v1/node-keys/"+n.Name, keySum(n.Key)))
	}
	const next = "/sigma/v1/nodes-next"
	ops = append(ops, clientv3.OpPut(next, strconv.Itoa(len(list))))
	_, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(next), "=", 0)).Then(ops...).Commit()
	if err != nil {
		return fmt.Errorf("named: numbering the first nodes: %w", err)
	}
	return nil
}

// ForgetNode gives a node's name free; its certificate counts no more once the
// cluster's keys are replaced.
func ForgetNode(ctx context.Context, c *clientv3.Client, node string) error {
	_, err := c.Delete(ctx, "/sigma/v1/node-keys/"+node)
	return err
}
