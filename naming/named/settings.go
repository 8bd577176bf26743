package named

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// Kinds of Settings.
const (
	S3Settings = "s3" // a realm's store
	DBSettings = "db" // a realm's database
)

// settingsPrefix + kind + "/" + realm id: what an operator said for a realm.
const settingsPrefix = "/sigma/v1/realm-settings/"

// settingsOf are the keys of a realm's settings of every kind.
func settingsOf(realm string) []string {
	return []string{settingsPrefix + S3Settings + "/" + realm, settingsPrefix + DBSettings + "/" + realm}
}

// Settings is what operators said for realms, of one kind: bytes that only their
// reader understands, and that may be secret. Reads come from memory, kept current
// by a watch. They go with their realm.
type Settings struct {
	c      *clientv3.Client
	prefix string
	stop   context.CancelFunc
	done   chan struct{}

	mu sync.RWMutex
	m  map[string][]byte // by realm id
}

// OpenSettings reads those of a kind and follows them.
func OpenSettings(ctx context.Context, c *clientv3.Client, kind string) (*Settings, error) {
	wctx, stop := context.WithCancel(context.Background())
	s := &Settings{c: c, prefix: settingsPrefix + kind + "/", stop: stop, done: make(chan struct{})}
	rev, err := s.load(ctx)
	if err != nil {
		stop()
		return nil, fmt.Errorf("named: reading the realms' settings: %w", err)
	}
	go func() {
		defer close(s.done)
		follow(wctx, c, s.prefix, rev, s.apply, s.load)
	}()
	return s, nil
}

// Close stops following.
func (s *Settings) Close() {
	s.stop()
	<-s.done
}

func (s *Settings) load(ctx context.Context) (rev int64, err error) {
	resp, err := s.c.Get(ctx, s.prefix, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m = make(map[string][]byte)
	for _, kv := range resp.Kvs {
		s.m[strings.TrimPrefix(string(kv.Key), s.prefix)] = kv.Value
	}
	return resp.Header.Revision, nil
}

func (s *Settings) apply(events []*clientv3.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		realm := strings.TrimPrefix(string(e.Kv.Key), s.prefix)
		if e.Type == clientv3.EventTypeDelete {
			delete(s.m, realm)
		} else {
			s.m[realm] = e.Kv.Value
		}
	}
}

// Get returns a realm's.
func (s *Settings) Get(realm string) ([]byte, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.m[realm]
	return b, ok
}

// All returns everybody's.
func (s *Settings) All() map[string][]byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.m)
}

// Put sets a realm's; nil forgets them. The realm must be there.
func (s *Settings) Put(ctx context.Context, realm string, b []byte) error {
	key := s.prefix + realm
	op := clientv3.OpPut(key, string(b))
	if b == nil {
		op = clientv3.OpDelete(key)
	}
	r, err := s.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(realmPrefix+realm), ">", 0)).Then(op).Commit()
	if err != nil {
		return api.E(api.Unavailable, "realm", realm, "%v", err)
	}
	if !r.Succeeded {
		return api.E(api.NotFound, "realm", realm, "no such realm")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b == nil {
		delete(s.m, realm)
	} else {
		s.m[realm] = b
	}
	return nil
}

// Claim writes a value once for the whole cluster: it returns mine when nobody
// was before, or who was.
func Claim(ctx context.Context, c *clientv3.Client, what string, mine []byte) ([]byte, error) {
	k := "/sigma/v1/claims/" + what
	r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(k), "=", 0)).
		Then(clientv3.OpPut(k, string(mine))).Else(clientv3.OpGet(k)).Commit()
	if err != nil {
		return nil, api.E(api.Unavailable, "claim", what, "%v", err)
	}
	if r.Succeeded {
		return mine, nil
	}
	return r.Responses[0].GetResponseRange().Kvs[0].Value, nil
}

// Claimed returns what was claimed; nil: nothing yet.
func Claimed(ctx context.Context, c *clientv3.Client, what string) ([]byte, error) {
	r, err := c.Get(ctx, "/sigma/v1/claims/"+what)
	if err != nil {
		return nil, api.E(api.Unavailable, "claim", what, "%v", err)
	}
	if len(r.Kvs) == 0 {
		return nil, nil
	}
	return r.Kvs[0].Value, nil
}

// Unclaim takes a claim back, if it is still this one.
func Unclaim(ctx context.Context, c *clientv3.Client, what string, was []byte) error {
	k := "/sigma/v1/claims/" + what
	_, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value(k), "=", string(was))).Then(clientv3.OpDelete(k)).Commit()
	if err != nil {
		return api.E(api.Unavailable, "claim", what, "%v", err)
	}
	return nil
}
