package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sigmaos/api"
	"sigmaos/naming/db"
)

// Realm says how one realm reaches its database. It holds passwords: it is not to
// be logged.
type Realm struct {
	ID       string
	URL      string // postgres://USER@HOST:PORT/DATABASE of the user who makes roles
	Password string // of that user
	Own      string // password of the realm's role
}

// String hides the passwords.
func (r Realm) String() string { return "database of realm " + r.ID }

// GoString hides them too.
func (r Realm) GoString() string { return r.String() }

// CheckURL says whether a server's address can be used.
func CheckURL(s string) error {
	bad := func(format string, args ...any) error { return api.E(api.Invalid, "db", "", format, args...) }
	u, err := url.Parse(s)
	if err != nil || len(s) > 1024 {
		return bad("want postgres://USER@HOST:PORT/DATABASE")
	}
	if _, has := u.User.Password(); has {
		return bad("the password belongs into its file, not into the address")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" || u.User.Username() == "" || u.Host == "" && u.Query().Get("host") == "" {
		return bad("want postgres://USER@HOST:PORT/DATABASE, with ?sslmode=… as PostgreSQL has it")
	}
	for k := range u.Query() {
		switch k {
		case "sslmode", "host", "port", "connect_timeout":
		default:
			return bad("%s cannot be set in the address; sslmode, host, port and connect_timeout can", k)
		}
	}
	return nil
}

// Config of a Server. Zero values are the defaults.
type Config struct {
	Conns   int           // of a realm through this node at once; default 64
	Connect time.Duration // for a connection to be there; default 10 s
	Logger  *slog.Logger
}

// Server connects the realms of a node with their databases.
type Server struct {
	cfg Config

	mu     sync.Mutex
	realms map[string]*realm
}

// realm is what is known of one.
type realm struct {
	conns chan struct{} // one for each connection

	making chan struct{} // has room for one: who makes role and database
	made   Realm         // for which they were made; guarded by making

	mu   sync.Mutex
	keys map[key]bool // of connections that are there
}

// key is what cancels a connection's query.
type key struct {
	pid    uint32
	secret string
}

// NewServer makes a server.
func NewServer(cfg Config) *Server {
	if cfg.Conns == 0 {
		cfg.Conns = 64
	}
	if cfg.Connect == 0 {
		cfg.Connect = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, realms: make(map[string]*realm)}
}

// Forget drops what is known of a realm.
func (s *Server) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.realms, id)
}

func (s *Server) realm(id string) *realm {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.realms[id]
	if r == nil {
		r = &realm{conns: make(chan struct{}, s.cfg.Conns), making: make(chan struct{}, 1), keys: make(map[key]bool)}
		s.realms[id] = r
	}
	return r
}

// DatabaseOf names a realm's database.
func DatabaseOf(realm string) string { return roleOf(realm) }

// roleOf names a realm's role and database.
func roleOf(id string) string { return "sigma_" + id }

// config is how a user connects.
func (s *Server) config(r Realm, user, password, database string) (*pgconn.Config, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, api.E(api.Invalid, "db", "", "the address of the realm's database makes no sense")
	}
	if user == "" {
		user = u.User.Username()
	}
	u.User = url.UserPassword(user, password)
	if database != "" {
		u.Path = "/" + database
	}
	c, err := pgconn.ParseConfig(u.String())
	if err != nil {
		return nil, api.E(api.Invalid, "db", "", "the address of the realm's database makes no sense")
	}
	c.ConnectTimeout = s.cfg.Connect
	return c, nil
}

// open connects as the realm's role; role and database are made first where need
// be. release must be called when the connection is gone.
func (s *Server) open(ctx context.Context, r Realm, params map[string]string) (_ *pgconn.PgConn, release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.Connect)
	defer cancel()
	at := s.realm(r.ID)
	select {
	case at.conns <- struct{}{}:
	default:
		return nil, nil, api.E(api.Busy, "db", "", "the realm has %d connections with its database through this node; close some", cap(at.conns))
	}
	defer func() {
		if err != nil {
			<-at.conns
		}
	}()
	if err := s.make(ctx, at, r); err != nil {
		return nil, nil, err
	}
	c, err := s.config(r, roleOf(r.ID), r.Own, roleOf(r.ID))
	if err != nil {
		return nil, nil, err
	}
	for k, v := range params {
		c.RuntimeParams[k] = v
	}
	conn, err := pgconn.ConnectConfig(ctx, c)
	if err != nil {
		return nil, nil, s.fail(r, err)
	}
	return conn, func() { <-at.conns }, nil
}

// make makes the realm's role and database, once for each way to say where they
// are.
func (s *Server) make(ctx context.Context, at *realm, r Realm) error {
	select {
	case at.making <- struct{}{}:
		defer func() { <-at.making }()
	case <-ctx.Done():
		return api.E(api.Unavailable, "db", "", "the realm's database is being made, and that takes long")
	}
	if at.made == r {
		return nil
	}
	c, err := s.config(r, "", r.Password, "")
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, c)
	if err != nil {
		return s.fail(r, err)
	}
	defer conn.Close(ctx)
	if err := s.provision(ctx, conn, r); err != nil {
		return s.fail(r, err)
	}
	at.made = r
	return nil
}

func (s *Server) provision(ctx context.Context, conn *pgconn.PgConn, r Realm) error {
	name := roleOf(r.ID) // letters, digits and _: it needs no more than quotes
	if strings.ContainsFunc(name+r.Own, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}) {
		return api.E(api.Invalid, "db", "", "a realm's id or password has other than letters and digits")
	}
	run := func(sql string, may ...string) error {
		_, err := conn.Exec(ctx, sql).ReadAll()
		var pg *pgconn.PgError
		for _, code := range may {
			if errors.As(err, &pg) && pg.Code == code {
				return nil
			}
		}
		return err
	}
	const duplicateObject, duplicateDatabase, unique = "42710", "42P04", "23505"
	attrs := fmt.Sprintf(`LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT 200 PASSWORD '%s'`, r.Own)
	if err := run(fmt.Sprintf(`CREATE ROLE "%s" %s`, name, attrs), duplicateObject, unique); err != nil {
		return err
	}
	if err := run(fmt.Sprintf(`ALTER ROLE "%s" %s`, name, attrs)); err != nil {
		return err
	}
	if err := run(fmt.Sprintf(`GRANT "%s" TO CURRENT_USER`, name)); err != nil {
		s.cfg.Logger.Debug("making a realm's database", "realm", r.ID, "err", err) // a superuser needs no grant
	}
	if err := run(fmt.Sprintf(`CREATE DATABASE "%s" OWNER "%s"`, name, name), duplicateDatabase, unique); err != nil {
		return err
	}
	return run(fmt.Sprintf(`REVOKE ALL ON DATABASE "%s" FROM PUBLIC`, name))
}

// fail turns an error on the way to a database into one for callers, who are told
// no address. What a query gets wrong does not come here.
func (s *Server) fail(r Realm, err error) error {
	var known *api.Error
	if errors.As(err, &known) {
		return err
	}
	s.cfg.Logger.Warn("a realm's database", "realm", r.ID, "err", strings.ReplaceAll(err.Error(), "\n", " "))
	var pg *pgconn.PgError
	var net net.Error
	switch {
	case errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "28") || pg.Code == "42501"):
		return api.E(api.Denied, "db", "", "the database server does not let sigmad in, or forbids it to make roles and databases; an operator sets another user with sigmactl realm set-db")
	case errors.As(err, &pg) && strings.HasPrefix(pg.Code, "53"):
		return api.E(api.Busy, "db", "", "the database server says: %s", pg.Message)
	case errors.As(err, &pg):
		return api.E(api.Unavailable, "db", "", "the database server says: %s", pg.Message)
	case errors.As(err, &net) && net.Timeout():
		return api.E(api.Unavailable, "db", "", "the realm's database server does not answer in time")
	}
	return api.E(api.Unavailable, "db", "", "the realm's database server cannot be reached; sigmad's log says why")
}

// Backend is a realm's database for the session file.
func (s *Server) Backend(r Realm) db.Backend { return backend{s, r} }
