package roles

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/named"
	"sigmaos/naming/s3"
	"sigmaos/naming/s3/local"
)

const (
	s3Service    = "s3"
	s3OwnService = "s3own" // the node with the cluster's own store; others relay to it
	s3Claim      = "s3-store"
)

// s3Store is the stored form of a realm's store.
type s3Store struct {
	Version int      `json:"version"`
	Store   s3.Store `json:"store"`
}

// s3Owner is who has the cluster's own store, and its key.
type s3Owner struct {
	Version int    `json:"version"`
	Node    string `json:"node"`
	Access  string `json:"access"`
	Secret  string `json:"secret"`
}

// objects is what the role s3 made.
type objects struct {
	settings *named.Settings
	server   *s3.Server
	owner    s3Owner       // of the cluster's own store; its Node is "" while there is none
	own      *local.Server // on its node
	ownDir   string
	mu       sync.Mutex // guards owner
}

// startS3 serves the realms' buckets.
func startS3(ctx context.Context, s *System) (_ func(context.Context) error, err error) {
	log := s.Log.With("role", "s3")
	var undo undoStack
	defer func() {
		if err != nil {
			undo.run()
		}
	}()
	o := &objects{ownDir: s.Config.S3Dir}
	if o.settings, err = named.OpenSettings(ctx, s.etcd, named.S3Settings); err != nil {
		return nil, err
	}
	undo.add(func() error { o.settings.Close(); return nil })
	if err := o.claim(ctx, s); err != nil {
		return nil, err
	}
	if o.owner.Node == s.Config.Node {
		o.own = local.New(local.Config{
			Binary: s.s3Binary(), Dir: o.ownDir, RunDir: filepath.Join(s.Config.RunDir, "s3"),
			Access: o.owner.Access, Secret: o.owner.Secret, Quota: s.Config.S3Bytes, Logger: log,
		})
		undo.add(o.own.Close)
		o.removeStray(s)
	}
	o.server = s3.New(s3.Config{
		Store: func(ctx context.Context, realm string) (s3.Store, error) { return s.storeOf(ctx, o, realm) },
		Room:  o.room, Beside: besideStore, Logger: log,
		Unsent: max(32<<20, min(256<<20, s.Config.Memory/32)), // of each realm, in sigmad's memory
	})
	undo.add(o.server.Close)
	s.objects.Store(o)
	s.Proxy.Serve(s3Service, s.serveS3)
	s.Proxy.Serve(s3OwnService, s.serveOwnS3)
	s.publish("s3", s3Service)
	return func(context.Context) error { return undo.run() }, nil
}

// s3Binary is the server that a fresh cluster brings: beside sigmad, where
// nothing else was said.
func (s *System) s3Binary() string {
	if s.Config.S3Server != "" {
		return s.Config.S3Server
	}
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	p := filepath.Join(filepath.Dir(exe), "versitygw")
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}

// claim makes this node the one with the cluster's own store, when it can have
// it and no other does.
func (o *objects) claim(ctx context.Context, s *System) error {
	if o.ownDir == "" || s.s3Binary() == "" {
		return o.find(ctx, s)
	}
	mine, err := json.Marshal(s3Owner{Version: 1, Node: s.Config.Node, Access: rand.Text()[:20], Secret: rand.Text() + rand.Text()})
	if err != nil {
		return err
	}
	b, err := named.Claim(ctx, s.etcd, s3Claim, mine)
	if err != nil {
		return err
	}
	return o.set(b)
}

func (o *objects) set(b []byte) error {
	var owner s3Owner
	if err := json.Unmarshal(b, &owner); err != nil || owner.Version != 1 {
		return errors.New("the record of the cluster's S3 server is damaged or of another version")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owner = owner
	return nil
}

// find looks for the node with the cluster's own store.
func (o *objects) find(ctx context.Context, s *System) error {
	b, err := named.Claimed(ctx, s.etcd, s3Claim)
	if err != nil || b == nil {
		return err
	}
	return o.set(b)
}

// ownedBy is the node with the cluster's own store, "" for none.
func (o *objects) ownedBy(ctx context.Context, s *System) string {
	o.mu.Lock()
	node := o.owner.Node
	o.mu.Unlock()
	if node == "" { // it may have come since
		if err := o.find(ctx, s); err != nil {
			return ""
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.owner.Node
	}
	return node
}

// removeStray removes the buckets of realms that were removed while this node was
// away.
func (o *objects) removeStray(s *System) {
	bucket := regexp.MustCompile(`^([a-z0-9]{10})-.`)
	list, err := os.ReadDir(o.ownDir)
	if err != nil {
		return
	}
	for _, d := range list {
		m := bucket.FindStringSubmatch(d.Name())
		if m == nil {
			continue
		}
		if _, err := s.Realms.ByID(m[1]); err == nil {
			continue
		}
		if err := o.own.RemoveAll(m[1] + "-"); err != nil {
			s.Log.Warn("buckets of a removed realm", "realm", m[1], "err", err)
		}
	}
}

// storeOf says where a realm's buckets are.
func (s *System) storeOf(ctx context.Context, o *objects, realm string) (s3.Store, error) {
	st, ok, err := o.configured(realm)
	if ok || err != nil {
		return st, err
	}
	if o.own != nil {
		st, err := o.own.Use(ctx)
		st.Prefix = realm + "-"
		return st, err
	}
	return st, api.E(api.Unsupported, "s3", "", "the realm has no object store, and the cluster brings none: an operator sets one with sigmactl realm set-s3")
}

// room bounds what realms keep in the cluster's own store.
func (o *objects) room(_ context.Context, realm string, n int64) error {
	if _, set, _ := o.configured(realm); set || o.own == nil {
		return nil
	}
	return o.own.Room(realm+"-", n)
}

// configured is the store that an operator has set for a realm.
func (o *objects) configured(realm string) (s3.Store, bool, error) {
	b, ok := o.settings.Get(realm)
	if !ok {
		return s3.Store{}, false, nil
	}
	var r s3Store
	if err := json.Unmarshal(b, &r); err != nil || r.Version != 1 {
		return s3.Store{}, true, api.E(api.Internal, "s3", "", "the record of the realm's store is damaged or of another version; set it again with sigmactl realm set-s3")
	}
	return r.Store, true, nil
}

// serveS3 serves a realm's buckets to one caller; those in the cluster's own
// store through the node that has it.
func (s *System) serveS3(ctx context.Context, conn net.Conn, c api.Caller) {
	o := s.objects.Load()
	if _, err := s.Realms.ByID(c.Realm); err != nil || o == nil {
		return
	}
	_, set, _ := o.configured(c.Realm)
	if owner := o.ownedBy(ctx, s); !set && owner != "" && owner != s.Config.Node {
		whileSame(ctx, o.still(c.Realm, false), func(ctx context.Context) { s.relay(ctx, conn, c, s3OwnService, owner) })
		return
	}
	whileSame(ctx, o.still(c.Realm, set), func(ctx context.Context) { s.serveTree(ctx, conn, c, o.server.FS()) })
}

func (s *System) serveOwnS3(ctx context.Context, conn net.Conn, c api.Caller) {
	o := s.objects.Load()
	if _, err := s.Realms.ByID(c.Realm); err != nil || o == nil || o.own == nil {
		return
	}
	if _, set, _ := o.configured(c.Realm); set {
		return // the caller asks again, and finds it at once
	}
	whileSame(ctx, o.still(c.Realm, false), func(ctx context.Context) { s.serveTree(ctx, conn, c, o.server.FS()) })
}

// still says whether the realm has a store of its own as it had.
func (o *objects) still(realm string, set bool) func() bool {
	return func() bool {
		_, now, _ := o.configured(realm)
		return now == set
	}
}

// setS3 sets or forgets a realm's store, and tries it.
func (s *System) setS3(ctx context.Context, r api.S3Request) (api.S3Info, error) {
	info := api.S3Info{Realm: r.Realm, Endpoint: r.Endpoint, Region: r.Region, Prefix: r.Prefix, Own: r.Own}
	o := s.objects.Load()
	if o == nil {
		return info, api.E(api.Unsupported, "realm set-s3", r.Realm, "node %s does not have the role s3; ask one that has it", s.Config.Node)
	}
	realm, err := s.Realms.Get(r.Realm)
	if err != nil {
		return info, err
	}
	var b []byte
	if !r.Own {
		st := s3.Store{Endpoint: r.Endpoint, Region: r.Region, AccessKey: r.AccessKey, Secret: r.Secret, Virtual: r.Virtual, Prefix: r.Prefix}
		if err := st.Check(); err != nil {
			return info, err
		}
		if b, err = json.Marshal(s3Store{Version: 1, Store: st}); err != nil {
			return info, err
		}
	}
	if err := o.settings.Put(ctx, realm.ID, b); err != nil {
		return info, err
	}
	if r.Own {
		return info, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	root, err := o.server.FS().Attach(ctx, api.Caller{Realm: realm.ID, Operator: true}, "", nil)
	if err == nil {
		_, err = root.ReadDir(ctx, "", 1)
	}
	if err != nil {
		info.Problem = err.Error()
	}
	return info, nil
}

// dropBuckets removes what a removed realm has in the cluster's own store.
func (s *System) dropBuckets(realm string) error {
	o := s.objects.Load()
	if o == nil {
		return nil
	}
	o.server.Forget(realm)
	if o.own == nil {
		return nil
	}
	return o.own.RemoveAll(realm + "-")
}
