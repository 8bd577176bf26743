package named

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

const (
	realmPrefix = "/sigma/v1/realms/"      // + id: the record
	namePrefix  = "/sigma/v1/realm-names/" // + name: the id
)

var realmName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// record is the stored form of a realm.
type record struct {
	Version int       `json:"version"`
	Realm   api.Realm `json:"realm"`
}

// Realms is the table of tenants: reads come from memory, kept current by a
// watch; writes are transactions.
type Realms struct {
	c    *clientv3.Client
	log  *slog.Logger
	stop context.CancelFunc
	done chan struct{}

	mu     sync.RWMutex
	byID   map[string]api.Realm
	byName map[string]string
}

// OpenRealms reads the table and starts to follow it.
func OpenRealms(ctx context.Context, c *clientv3.Client, log *slog.Logger) (*Realms, error) {
	wctx, stop := context.WithCancel(context.Background())
	r := &Realms{c: c, log: log, stop: stop, done: make(chan struct{})}
	rev, err := r.load(ctx)
	if err != nil {
		stop()
		return nil, fmt.Errorf("named: reading the realms: %w", err)
	}
	go func() {
		defer close(r.done)
		follow(wctx, c, realmPrefix, rev, r.apply, r.load)
	}()
	return r, nil
}

// Close stops following.
func (r *Realms) Close() {
	r.stop()
	<-r.done
}

func (r *Realms) load(ctx context.Context) (rev int64, err error) {
	resp, err := r.c.Get(ctx, realmPrefix, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID, r.byName = make(map[string]api.Realm), make(map[string]string)
	for _, kv := range resp.Kvs {
		r.putLocked(kv.Value)
	}
	return resp.Header.Revision, nil
}

func (r *Realms) putLocked(b []byte) {
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil || rec.Version != 1 {
		r.log.Error("a realm's record is of another version or damaged", "err", err, "version", rec.Version)
		return
	}
	r.byID[rec.Realm.ID] = rec.Realm
	r.byName[rec.Realm.Name] = rec.Realm.ID
}

func (r *Realms) dropLocked(id string) {
	if old, ok := r.byID[id]; ok {
		delete(r.byID, id)
		if r.byName[old.Name] == id {
			delete(r.byName, old.Name)
		}
	}
}

func (r *Realms) apply(events []*clientv3.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if e.Type == clientv3.EventTypeDelete {
			r.dropLocked(strings.TrimPrefix(string(e.Kv.Key), realmPrefix))
		} else {
			r.putLocked(e.Kv.Value)
		}
	}
}

// Get finds a realm by name.
func (r *Realms) Get(name string) (api.Realm, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if id, ok := r.byName[name]; ok {
		return r.byID[id], nil
	}
	return api.Realm{}, api.E(api.NotFound, "realm", name, "no such realm (sigmactl realm ls lists them; realm create makes one)")
}

// ByID finds a realm by id.
func (r *Realms) ByID(id string) (api.Realm, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if rec, ok := r.byID[id]; ok {
		return rec, nil
	}
	return api.Realm{}, api.E(api.NotFound, "realm", id, "no such realm")
}

// List returns all realms by name.
func (r *Realms) List() []api.Realm {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]api.Realm, 0, len(r.byID))
	for _, rec := range r.byID {
		out = append(out, rec)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Create makes a realm; its name must be free.
func (r *Realms) Create(ctx context.Context, n api.Realm) (api.Realm, error) {
	if !realmName.MatchString(n.Name) {
		return n, api.E(api.Invalid, "realm create", n.Name, "a realm's name is 1 to 63 of a-z, 0-9 and -, and does not begin with -")
	}
	if q := n.Quota; q.Procs < 0 || q.Memory < 0 || q.MCPU < 0 || q.Scratch < 0 {
		return n, api.E(api.Invalid, "realm create", n.Name, "a quota below zero: %+v", q)
	}
	n.ID, n.Created = newRealmID(), time.Now().UTC()
	b, err := json.Marshal(record{Version: 1, Realm: n})
	if err != nil {
		return n, err
	}
	resp, err := r.c.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(namePrefix+n.Name), "=", 0)).
		Then(clientv3.OpPut(namePrefix+n.Name, n.ID), clientv3.OpPut(realmPrefix+n.ID, string(b))).Commit()
	if err != nil {
		return n, api.E(api.Unavailable, "realm create", n.Name, "%v", err)
	}
	if !resp.Succeeded {
		return n, api.E(api.Exists, "realm create", n.Name, "there is a realm with this name")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.putLocked(b)
	return n, nil
}

// Remove forgets a realm's record.
func (r *Realms) Remove(ctx context.Context, name string) error {
	rec, err := r.Get(name)
	if err != nil {
		return err
	}
	_, err = r.c.Txn(ctx).
		If(clientv3.Compare(clientv3.Value(namePrefix+name), "=", rec.ID)).
		Then(dropRealm(rec)...).Commit()
	if err != nil {
		return api.E(api.Unavailable, "realm rm", name, "%v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(rec.ID)
	return nil
}

// newRealmID is ten letters that can stand in keys, directories and cgroups.
func newRealmID() string { return strings.ToLower(rand.Text()[:10]) }

// dropRealm is all that is forgotten with a realm's record.
func dropRealm(r api.Realm) []clientv3.Op {
	ops := []clientv3.Op{clientv3.OpDelete(namePrefix + r.Name), clientv3.OpDelete(realmPrefix + r.ID), clientv3.OpDelete(sharesPrefix + r.ID)}
	ops = append(ops, clientv3.OpDelete(initPrefix+r.ID+"/", clientv3.WithPrefix()))
	for _, k := range settingsOf(r.ID) {
		ops = append(ops, clientv3.OpDelete(k))
	}
	return ops
}
