package roles

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/internal/splice"
	"sigmaos/naming/db"
	"sigmaos/naming/db/postgres"
	"sigmaos/naming/db/sqlite"
	"sigmaos/naming/named"
)

const (
	dbService    = "db"
	dbOwnService = "dbown" // the node with the cluster's own databases; others relay to it
	dbPGService  = "dbpg"  // PostgreSQL's protocol
	dbClaim      = "db-store"
)

// dbSetting is the stored form of where a realm's database is.
type dbSetting struct {
	Version  int    `json:"version"`
	URL      string `json:"url"`
	Password string `json:"password"`
	Own      string `json:"own"` // password of the realm's role
}

// dbOwner is who has the cluster's own databases.
type dbOwner struct {
	Version int    `json:"version"`
	Node    string `json:"node"`
}

// databases is what the role db made.
type databases struct {
	settings *named.Settings
	pg       *postgres.Server
	pool     *sqlite.Pool // on the node that has the cluster's own
	owner    string       // that node

	mu    sync.Mutex
	trees map[postgres.Realm]*db.FS
}

// startDB serves the realms' databases.
func startDB(ctx context.Context, s *System) (_ func(context.Context) error, err error) {
	log := s.Log.With("role", "db")
	var undo undoStack
	defer func() {
		if err != nil {
			undo.run()
		}
	}()
	d := &databases{pg: postgres.NewServer(postgres.Config{Logger: log}), trees: make(map[postgres.Realm]*db.FS)}
	if d.settings, err = named.OpenSettings(ctx, s.etcd, named.DBSettings); err != nil {
		return nil, err
	}
	undo.add(func() error { d.settings.Close(); return nil })
	mine, err := json.Marshal(dbOwner{Version: 1, Node: s.Config.Node})
	if err != nil {
		return nil, err
	}
	b, err := named.Claim(ctx, s.etcd, dbClaim, mine)
	if err != nil {
		return nil, err
	}
	var owner dbOwner
	if err := json.Unmarshal(b, &owner); err != nil || owner.Version != 1 {
		return nil, errors.New("the record of the cluster's own databases is damaged or of another version")
	}
	if d.owner = owner.Node; d.owner == s.Config.Node {
		d.pool = sqlite.NewPool(sqlite.Config{
			Exe: "/proc/self/exe", Dir: filepath.Join(s.Config.DataDir, "db"), RunDir: filepath.Join(s.Config.RunDir, "db"), Disk: s.Config.DBBytes, Logger: log,
		})
		undo.add(d.pool.Close)
		d.removeStray(s)
	}
	s.databases.Store(d)
	s.Proxy.Serve(dbService, s.serveDB)
	s.Proxy.Serve(dbOwnService, s.serveOwnDB)
	s.Proxy.Serve(dbPGService, s.servePG)
	s.publish("db", dbService)
	return func(context.Context) error { return undo.run() }, nil
}

// removeStray removes the databases of realms that were removed while this node
// was away.
func (d *databases) removeStray(s *System) {
	for _, realm := range d.pool.Realms() {
		if _, err := s.Realms.ByID(realm); err == nil {
			continue
		}
		if err := d.pool.Remove(realm); err != nil {
			s.Log.Warn("the database of a removed realm", "realm", realm, "err", err)
		}
	}
}

// configured is the PostgreSQL that an operator has set for a realm.
func (d *databases) configured(realm string) (postgres.Realm, bool) {
	b, ok := d.settings.Get(realm)
	if !ok {
		return postgres.Realm{}, false
	}
	var r dbSetting
	if json.Unmarshal(b, &r) != nil || r.Version != 1 {
		r = dbSetting{} // every use of it says that the address makes no sense
	}
	return postgres.Realm{ID: realm, URL: r.URL, Password: r.Password, Own: r.Own}, true
}

func (d *databases) still(realm string, was postgres.Realm, set bool) func() bool {
	return func() bool {
		now, ok := d.configured(realm)
		return ok == set && now == was
	}
}

// tree is the realm's database on a PostgreSQL, the same for all its connections.
func (d *databases) tree(r postgres.Realm, node string) *db.FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trees[r] == nil {
		for old := range d.trees {
			if old.ID == r.ID {
				delete(d.trees, old)
			}
		}
		d.trees[r] = db.New(d.pg.Backend(r), db.Limits{}, "svc:"+dbPGService+"@"+node)
	}
	return d.trees[r]
}

// serveDB serves a realm's database to one caller.
func (s *System) serveDB(ctx context.Context, conn net.Conn, c api.Caller) {
	d := s.databases.Load()
	if _, err := s.Realms.ByID(c.Realm); err != nil || d == nil {
		return
	}
	r, set := d.configured(c.Realm)
	whileSame(ctx, d.still(c.Realm, r, set), func(ctx context.Context) {
		switch {
		case set:
			s.serveTree(ctx, conn, c, d.tree(r, s.Config.Node))
		case d.pool != nil:
			s.joinDB(ctx, conn, c, d)
		default:
			s.relay(ctx, conn, c, dbOwnService, d.owner)
		}
	})
}

func (s *System) serveOwnDB(ctx context.Context, conn net.Conn, c api.Caller) {
	d := s.databases.Load()
	if _, err := s.Realms.ByID(c.Realm); err != nil || d == nil || d.pool == nil {
		return
	}
	if r, set := d.configured(c.Realm); !set {
		whileSame(ctx, d.still(c.Realm, r, false), func(ctx context.Context) { s.joinDB(ctx, conn, c, d) })
	}
}

// joinDB connects a caller with the process that serves its realm.
func (s *System) joinDB(ctx context.Context, conn net.Conn, c api.Caller, d *databases) {
	dctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	there, release, err := d.pool.Dial(dctx, c.Realm)
	cancel()
	if err != nil {
		s.Log.Debug("a realm's database", "realm", c.Realm, "err", err)
		return
	}
	defer release()
	defer there.Close()
	splice.Join(ctx, conn, there)
}

// servePG speaks PostgreSQL's protocol with a caller.
func (s *System) servePG(ctx context.Context, conn net.Conn, c api.Caller) {
	d := s.databases.Load()
	if _, err := s.Realms.ByID(c.Realm); err != nil || d == nil {
		return
	}
	if r, set := d.configured(c.Realm); set {
		whileSame(ctx, d.still(c.Realm, r, true), func(ctx context.Context) { d.pg.Serve(ctx, conn, r) })
	}
}

// setDB sets or forgets where a realm's database is, and tries it.
func (s *System) setDB(ctx context.Context, r api.DBRequest) (api.DBInfo, error) {
	info := api.DBInfo{Realm: r.Realm, URL: r.URL, Own: r.Own}
	d := s.databases.Load()
	if d == nil {
		return info, api.E(api.Unsupported, "realm set-db", r.Realm, "node %s does not have the role db; ask one that has it", s.Config.Node)
	}
	realm, err := s.Realms.Get(r.Realm)
	if err != nil {
		return info, err
	}
	if r.Own {
		return info, d.settings.Put(ctx, realm.ID, nil)
	}
	if err := postgres.CheckURL(r.URL); err != nil {
		return info, err
	}
	set := dbSetting{Version: 1, URL: r.URL, Password: r.Password, Own: rand.Text()}
	if old, ok := d.configured(realm.ID); ok && old.Own != "" {
		set.Own = old.Own
	}
	b, err := json.Marshal(set)
	if err != nil {
		return info, err
	}
	if err := d.settings.Put(ctx, realm.ID, b); err != nil {
		return info, err
	}
	now, _ := d.configured(realm.ID)
	info.Database = postgres.DatabaseOf(realm.ID)
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := d.pg.Backend(now).Connect(ctx)
	if err != nil {
		info.Problem = err.Error()
		return info, nil
	}
	return info, conn.Close()
}

// dropDatabase removes what a removed realm has in the cluster's own databases.
// One on a PostgreSQL stays: it is the provider's to keep or drop.
func (s *System) dropDatabase(realm string) error {
	d := s.databases.Load()
	if d == nil {
		return nil
	}
	d.pg.Forget(realm)
	if d.pool == nil {
		return nil
	}
	return d.pool.Remove(realm)
}
