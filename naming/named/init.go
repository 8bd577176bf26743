package named

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// Keys of initd.
const (
	initPrefix  = "/sigma/v1/init/"       // + realm id + "/" + name: what to start
	claimPrefix = "/sigma/v1/init-claim/" // + system boot + "/" + realm id + "/" + name: who starts it
	systemKey   = "/sigma/v1/system"      // the number of the system's boot
	alivePrefix = "/sigma/v1/alive/"      // + system boot + "/" + node number: the node's boot, under its lease
)

// InitRecord is a registered proc as it is kept.
type InitRecord struct {
	Version int          `json:"version"`
	Realm   string       `json:"realm"` // id
	Init    api.InitProc `json:"init"`
}

// InitClaim says who starts a registered proc at one boot of the system, under
// which id. Until Done it may not have happened yet.
type InitClaim struct {
	Version int        `json:"version"`
	Proc    api.ProcID `json:"proc"` // "": registered while the system ran, not to be started now
	Done    bool       `json:"done"`

	rev int64
}

func initKey(realm, name string) string { return initPrefix + realm + "/" + name }

func claimKey(boot int64, realm, name string) string {
	return claimPrefix + strconv.FormatInt(boot, 10) + "/" + realm + "/" + name
}

// AddInit registers a proc; its name must be free. Unless it says Now, it counts
// as started at this boot of the system.
func AddInit(ctx context.Context, c *clientv3.Client, boot int64, realm string, p api.InitProc) error {
	b, err := json.Marshal(InitRecord{Version: 1, Realm: realm, Init: p})
	if err != nil {
		return err
	}
	if len(b) > api.MaxInitDesc {
		return api.E(api.TooLarge, "init add", p.Name, "the descriptor takes %d bytes; the limit is %d", len(b), api.MaxInitDesc)
	}
	// The limit is nothing that depends on the last one of them: what this peer knows
	// will do, and costs no round of all.
	n, err := c.Get(ctx, initPrefix+realm+"/", clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithSerializable())
	if err != nil {
		return api.E(api.Unavailable, "init add", p.Name, "%v", err)
	}
	if n.Count >= api.MaxInitProcs {
		return api.E(api.Busy, "init add", p.Name, "the realm has registered %d procs, which is the limit", n.Count)
	}
	ops := []clientv3.Op{clientv3.OpPut(initKey(realm, p.Name), string(b))}
	if !p.Now {
		b, err := json.Marshal(InitClaim{Version: 1, Done: true})
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(claimKey(boot, realm, p.Name), string(b)))
	}
	r, err := c.Txn(ctx).If(
		clientv3.Compare(clientv3.CreateRevision(initKey(realm, p.Name)), "=", 0),
		clientv3.Compare(clientv3.CreateRevision(realmPrefix+realm), ">", 0),
	).Then(ops...).Commit()
	switch {
	case err != nil:
		return api.E(api.Unavailable, "init add", p.Name, "%v", err)
	case !r.Succeeded:
		return api.E(api.Exists, "init add", p.Name, "the realm has registered a proc of this name (sigmactl init ls); remove that first")
	}
	return nil
}

// RemoveInit forgets a registered proc; one that runs runs on.
func RemoveInit(ctx context.Context, c *clientv3.Client, boot int64, realm, name string) error {
	r, err := c.Txn(ctx).Then(clientv3.OpDelete(initKey(realm, name)), clientv3.OpDelete(claimKey(boot, realm, name))).Commit()
	if err != nil {
		return api.E(api.Unavailable, "init rm", name, "%v", err)
	}
	if r.Responses[0].GetResponseDeleteRange().Deleted == 0 {
		return api.E(api.NotFound, "init rm", name, "the realm has registered no proc of this name (sigmactl init ls)")
	}
	return nil
}

// ListInit reads what is registered: of one realm, or of all with "".
func ListInit(ctx context.Context, c *clientv3.Client, realm string) ([]InitRecord, error) {
	prefix := initPrefix
	if realm != "" {
		prefix += realm + "/"
	}
	r, err := c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, api.E(api.Unavailable, "init ls", "", "%v", err)
	}
	var out []InitRecord
	for _, kv := range r.Kvs {
		var rec InitRecord
		if json.Unmarshal(kv.Value, &rec) == nil && rec.Version == 1 {
			out = append(out, rec)
		}
	}
	return out, nil
}

// Claims are those of one boot of the system, by realm and name.
func Claims(ctx context.Context, c *clientv3.Client, boot int64) (map[string]InitClaim, error) {
	prefix := claimPrefix + strconv.FormatInt(boot, 10) + "/"
	r, err := c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, api.E(api.Unavailable, "init", "", "%v", err)
	}
	out := make(map[string]InitClaim)
	for _, kv := range r.Kvs {
		var cl InitClaim
		if json.Unmarshal(kv.Value, &cl) == nil && cl.Version == 1 {
			cl.rev = kv.ModRevision
			out[strings.TrimPrefix(string(kv.Key), prefix)] = cl
		}
	}
	return out, nil
}

// Claim makes next the claim for a proc where old is still the claim and the
// proc is still registered; false means that somebody else was faster.
func (old InitClaim) Claim(ctx context.Context, c *clientv3.Client, boot int64, realm, name string, next InitClaim) (InitClaim, bool, error) {
	next.Version = 1
	b, err := json.Marshal(next)
	if err != nil {
		return old, false, err
	}
	k := claimKey(boot, realm, name)
	r, err := c.Txn(ctx).If(
		clientv3.Compare(clientv3.ModRevision(k), "=", old.rev),
		clientv3.Compare(clientv3.CreateRevision(initKey(realm, name)), ">", 0),
		clientv3.Compare(clientv3.Value(systemKey), "=", strconv.FormatInt(boot, 10)),
	).Then(clientv3.OpPut(k, string(b))).Commit()
	if err != nil {
		return old, false, api.E(api.Unavailable, "init", name, "%v", err)
	}
	next.rev = r.Header.Revision
	return next, r.Succeeded, nil
}

// System is the number of the system's boot, and which node was alive in it, by
// number and with its boot.
func System(ctx context.Context, c *clientv3.Client) (boot int64, alive map[uint16]uint32, err error) {
	r, err := c.Get(ctx, systemKey)
	if err != nil {
		return 0, nil, err
	}
	if len(r.Kvs) > 0 {
		boot, _ = strconv.ParseInt(string(r.Kvs[0].Value), 10, 64)
	}
	prefix := alivePrefix + strconv.FormatInt(boot, 10) + "/"
	l, err := c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return 0, nil, err
	}
	alive = make(map[uint16]uint32)
	for _, kv := range l.Kvs {
		n, err := strconv.ParseUint(strings.TrimPrefix(string(kv.Key), prefix), 10, 16)
		b, berr := strconv.ParseUint(string(kv.Value), 10, 32)
		if err == nil && berr == nil {
			alive[uint16(n)] = uint32(b)
		}
	}
	return boot, alive, nil
}

func aliveKey(boot int64, node uint16) string {
	return alivePrefix + strconv.FormatInt(boot, 10) + "/" + strconv.Itoa(int(node))
}

// Stay notes under a lease that a node is alive in a boot of the system; false
// means that the system has come to another boot.
func Stay(ctx context.Context, c *clientv3.Client, system int64, node uint16, boot uint32, lease clientv3.LeaseID) (bool, error) {
	r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value(systemKey), "=", strconv.FormatInt(system, 10))).
		Then(clientv3.OpPut(aliveKey(system, node), strconv.FormatUint(uint64(boot), 10), clientv3.WithLease(lease))).Commit()
	return err == nil && r.Succeeded, err
}

// Forget takes out a node that was alive in an earlier boot of its own.
func Forget(ctx context.Context, c *clientv3.Client, system int64, node uint16, boot uint32) error {
	k := aliveKey(system, node)
	_, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value(k), "=", strconv.FormatUint(uint64(boot), 10))).Then(clientv3.OpDelete(k)).Commit()
	return err
}

// BootSystem begins the next boot of the system, when it is still at last and
// nobody is alive in that. What was claimed then is forgotten.
func BootSystem(ctx context.Context, c *clientv3.Client, last int64, node uint16, boot uint32, lease clientv3.LeaseID) (bool, error) {
	is := clientv3.Compare(clientv3.Value(systemKey), "=", strconv.FormatInt(last, 10))
	if last == 0 {
		is = clientv3.Compare(clientv3.CreateRevision(systemKey), "=", 0)
	}
	old := alivePrefix + strconv.FormatInt(last, 10) + "/"
	r, err := c.Txn(ctx).If(is, clientv3.Compare(clientv3.CreateRevision(old).WithPrefix(), "=", 0)).Then(
		clientv3.OpPut(systemKey, strconv.FormatInt(last+1, 10)),
		clientv3.OpPut(aliveKey(last+1, node), strconv.FormatUint(uint64(boot), 10), clientv3.WithLease(lease)),
		clientv3.OpDelete(claimPrefix+strconv.FormatInt(last, 10)+"/", clientv3.WithPrefix()),
	).Commit()
	return err == nil && r.Succeeded, err
}
