package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/db"
	"sigmaos/naming/db/dbtest"
	"sigmaos/naming/db/postgres"
	"sigmaos/naming/tree"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func realm(s dbtest.Server, id string) postgres.Realm {
	return postgres.Realm{ID: id, URL: s.URL, Password: s.Password, Own: "own-of-" + id}
}

func session(t testing.TB, fs tree.FS) func(sql string) (string, error) {
	t.Helper()
	root, err := fs.Attach(t.Context(), api.Caller{}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := root.Walk(t.Context(), db.SessionFile)
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Open(t.Context(), tree.OpenMode{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	var off int64
	return func(sql string) (string, error) {
		n, err := h.WriteAt(context.Background(), []byte(sql), off)
		off += int64(n)
		if err != nil {
			return "", err
		}
		var out strings.Builder
		buf := make([]byte, 10_000)
		for {
			n, err := h.ReadAt(context.Background(), buf, off)
			off += int64(n)
			out.Write(buf[:n])
			if errors.Is(err, io.EOF) {
				return out.String(), nil
			}
			if err != nil {
				return out.String(), err
			}
		}
	}
}

func TestSessionFile(t *testing.T) {
	pg := dbtest.Start(t)
	s := postgres.NewServer(postgres.Config{})
	red := session(t, db.New(s.Backend(realm(pg, "red")), db.Limits{}, ""))
	blue := session(t, db.New(s.Backend(realm(pg, "blue")), db.Limits{}, ""))
	for _, c := range []struct {
		as         func(string) (string, error)
		sql, want  string
		kind       api.Kind
		textOfFail string
	}{
		{red, "CREATE TABLE t (id int PRIMARY KEY, s text, j jsonb, b bytea, ok bool, f float8, n numeric)", "{\"affected\":0}\n", "", ""},
		{red, `INSERT INTO t VALUES (1, 'ü "<', '{"a": [1, null]}', '\x00ff', true, 1.5, 1.10), (2, NULL, NULL, NULL, false, 'NaN', NULL)`, "{\"affected\":2}\n", "", ""},
		{red, "SELECT * FROM t ORDER BY id", `{"id":1,"s":"ü \"\u003c","j":{"a":[1,null]},"b":"AP8=","ok":true,"f":1.5,"n":"1.10"}` + "\n" + `{"id":2,"s":null,"j":null,"b":null,"ok":false,"f":"NaN","n":null}` + "\n", "", ""},
		{red, `{"sql":"SELECT s FROM t WHERE id = $1","args":[1]}`, "{\"s\":\"ü \\\"\\u003c\"}\n", "", ""},
		{red, "SELECT 1 AS a; SELECT 2 AS b", "{\"a\":1}\n{\"b\":2}\n", "", ""},
		{red, "SELEC 1", "", api.Invalid, `42601: syntax error at or near "SELEC" at character 1`},
		{red, "SELECT * FROM absent", "", api.Invalid, `relation "absent" does not exist`},
		{red, "INSERT INTO t (id) VALUES (1)", "", api.Conflict, "duplicate key"},
		{red, "CREATE ROLE other", "", api.Denied, "permission denied"},
		{red, "SELECT count(*) AS n FROM t", "{\"n\":2}\n", "", ""},
		{blue, "SELECT * FROM t", "", api.Invalid, `relation "t" does not exist`},
		{blue, "SELECT current_database() AS d", "{\"d\":\"sigma_blue\"}\n", "", ""},
	} {
		got, err := c.as(c.sql)
		if api.KindOf(err) != c.kind || c.kind == "" && got != c.want || !strings.Contains(fmt.Sprint(err), c.textOfFail) && c.kind != "" {
			t.Errorf("%s gives\n%s%v (kind %q), want\n%s%s %s", c.sql, got, err, api.KindOf(err), c.want, c.kind, c.textOfFail)
		}
	}
	short := session(t, db.New(s.Backend(realm(pg, "red")), db.Limits{Time: 3 * time.Second}, ""))
	if _, err := short("SELECT pg_sleep(30)"); api.KindOf(err) != api.Deadline {
		t.Errorf("a query over its time: %v", err)
	}
	if got, err := short("SELECT 1 AS a"); got != "{\"a\":1}\n" {
		t.Errorf("after it: %q, %v", got, err)
	}
	short = session(t, db.New(s.Backend(realm(pg, "red")), db.Limits{Rows: 1000}, ""))
	if got, err := short("SELECT generate_series(1, 100000000) AS i"); api.KindOf(err) != api.TooLarge || strings.Count(got, "\n") != 1000 {
		t.Errorf("100,000,000 rows where 1,000 may be: %d rows, %v", strings.Count(got, "\n"), err)
	}
	if got, err := short("SELECT 1 AS a"); got != "{\"a\":1}\n" {
		t.Errorf("after that: %q, %v", got, err)
	}
}

// serve is how a proc's dial reaches the server.
func serve(t *testing.T, s *postgres.Server, r postgres.Realm) (dial func(context.Context) net.Conn) {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); wg.Wait() })
	return func(context.Context) net.Conn {
		ours, theirs := net.Pipe()
		wg.Go(func() { s.Serve(ctx, theirs, r) })
		return ours
	}
}

func pgxConn(t *testing.T, dial func(context.Context) net.Conn, dsn string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("host=db sslmode=disable " + dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx), nil }
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"db"}, nil }
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err == nil {
		t.Cleanup(func() { c.Close(context.Background()) })
	}
	return c, err
}

// Whoever the first message says that it is, it is the realm's role in the realm's
// database; a key of another realm cancels nothing.
func TestProtocolIsTheRealms(t *testing.T) {
	pg := dbtest.Start(t)
	s := postgres.NewServer(postgres.Config{Conns: 3})
	red, blue := serve(t, s, realm(pg, "red")), serve(t, s, realm(pg, "blue"))
	for _, dsn := range []string{"user=super database=postgres", "user=sigma_blue database=sigma_blue", "user=x application_name=mine"} {
		c, err := pgxConn(t, red, dsn)
		if err != nil {
			t.Fatalf("%s: %v", dsn, err)
		}
		var user, database string
		if err := c.QueryRow(t.Context(), "SELECT current_user, current_database()").Scan(&user, &database); err != nil || user != "sigma_red" || database != "sigma_red" {
			t.Errorf("with %s one is %s in %s, %v", dsn, user, database, err)
		}
	}
	_, err := pgxConn(t, red, "user=x")
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "53300" {
		t.Errorf("a fourth connection of three: %v", err)
	}
	c, err := pgxConn(t, blue, "user=x replication=database")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := c.Exec(t.Context(), "SELECT pg_sleep(2)"); done <- err }()
	// The same key, over a connection of another realm.
	conn := red(t.Context())
	b := []byte{0, 0, 0, 16, 4, 210, 22, 46}
	pid := c.PgConn().PID()
	b = append(b, byte(pid>>24), byte(pid>>16), byte(pid>>8), byte(pid))
	conn.Write(append(b, c.PgConn().SecretKey()...))
	conn.Close()
	if err := <-done; err != nil {
		t.Errorf("a query that another realm tried to cancel: %v", err)
	}
}

// What is not PostgreSQL's protocol ends the connection, and nothing else.
func TestBadFirstMessages(t *testing.T) {
	s := postgres.NewServer(postgres.Config{Connect: time.Second})
	dead := serve(t, s, postgres.Realm{ID: "red", URL: "postgres://sigma@127.0.0.1:1/postgres?sslmode=disable", Own: "x"})
	for name, b := range map[string]string{
		"HTTP":             "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"a short length":   "\x00\x00\x00\x04\x00\x03\x00\x00",
		"a huge length":    "\x7f\xff\xff\xff\x00\x03\x00\x00",
		"an old protocol":  "\x00\x00\x00\x08\x00\x02\x00\x00",
		"half a parameter": "\x00\x00\x00\x0d\x00\x03\x00\x00user\x00",
		"no server":        "\x00\x00\x00\x12\x00\x03\x00\x00user\x00me\x00\x00\x00",
	} {
		c := dead(t.Context())
		c.SetDeadline(time.Now().Add(20 * time.Second))
		go c.Write([]byte(b))
		got, err := io.ReadAll(c)
		if err != nil || len(got) == 0 || got[0] != 'E' {
			t.Errorf("%s: %q, %v; want an error message", name, got, err)
		}
		if strings.Contains(string(got), "127.0.0.1") {
			t.Errorf("%s: the error tells the address: %q", name, got)
		}
		c.Close()
	}
	for _, bad := range []string{"", "x", "http://u@h/", "postgres://h/", "postgres://u:p@h/", "postgres://u@h/?sslrootcert=/etc/passwd", "postgres://u@h/?passfile=/x"} {
		if err := postgres.CheckURL(bad); api.KindOf(err) != api.Invalid {
			t.Errorf("CheckURL(%q): %v, want Invalid", bad, err)
		}
	}
}
