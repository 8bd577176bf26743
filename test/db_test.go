package test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/db/dbtest"
	"sigmaos/sigma/admin"
)

// output runs a program to its end and returns what it printed.
func (n *Node) output(t *testing.T, c *admin.Client, d *api.ProcDesc) (string, api.Status) {
	t.Helper()
	id, err := c.Spawn(minute(t), d)
	if err != nil {
		t.Fatal(err)
	}
	st := n.Await(c, id)
	var out bytes.Buffer
	err = c.Logs(minute(t), api.LogQuery{Name: string(id)}, func(_ api.LogRecord, b []byte) error { out.Write(b); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), st
}

// A fresh cluster has a database for each realm, through a file.
func TestPaper61_DatabaseOfAFreshCluster(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	awaitDir(t, c.Names(), "/db", 1)
	n.ctl(t, "sql", "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
	n.ctl(t, "sql", `{"sql":"INSERT INTO people (name) VALUES (?1), (?2)","args":["ann","o'neil"]}`)
	if got, want := n.ctl(t, "sql", "SELECT name FROM people ORDER BY id"), "{\"name\":\"ann\"}\n{\"name\":\"o'neil\"}\n"; got != want {
		t.Errorf("sql prints %q, want %q", got, want)
	}
	prog := n.Upload("testproc")
	got, st := n.output(t, c, &api.ProcDesc{Program: prog, Args: []string{"sql",
		"BEGIN", "INSERT INTO people (name) VALUES ('eve')", "SELECT count(*) AS n FROM people", "ROLLBACK", "SELECT count(*) AS n FROM people",
		"SELEC", "SELECT max(name) AS last FROM people"}})
	for _, want := range []string{"{\"n\":3}\n", "{\"n\":2}\n", `error: query: SQL logic error: near "SELEC": syntax error`, "{\"last\":\"o'neil\"}\n"} {
		if !strings.Contains(got, want) || st.Code != 0 {
			t.Errorf("the proc (%v) prints\n%swant %q in it", st, got, want)
		}
	}
	_, e, code := n.Ctl("sql", "SELECT * FROM absent")
	if code != 1 || !strings.Contains(e, "no such table: absent") {
		t.Errorf("a bad query: status %d, %q", code, e)
	}
	if _, err := c.Names().Stat(minute(t), "/db/~any/postgres"); api.KindOf(err) != api.NotFound || !strings.Contains(err.Error(), "set-db") {
		t.Errorf("PostgreSQL's protocol of an SQLite: %v", err)
	}

	n.ctl(t, "realm", "create", "other")
	awaitDir(t, n.Client("other").Names(), "/db", 1)
	if _, e, code := n.Ctl("--realm", "other", "sql", "SELECT * FROM people"); code != 1 || !strings.Contains(e, "no such table") {
		t.Errorf("another realm's query: status %d, %q", code, e)
	}
	n.ctl(t, "--realm", "other", "sql", "CREATE TABLE theirs (x)")
	n.ctl(t, "realm", "rm", "other")
	eventually(t, 20*time.Second, "the removed realm's database", func() (bool, string) {
		list, _ := os.ReadDir(filepath.Join(n.Dir, "data", "db"))
		return len(list) == 1, "there are several still"
	})
	n.Kill() // the databases' processes end with it
	n.Start()
	awaitDir(t, n.Client("default").Names(), "/db", 1)
	if got := n.ctl(t, "sql", "SELECT count(*) AS n FROM people"); got != "{\"n\":2}\n" {
		t.Errorf("after a kill -9 sql prints %q", got)
	}
}

// pgx in a proc, against Debian's PostgreSQL; the same database through
// the file; realms apart; no password anywhere that a tenant sees.
func TestPaper61_PostgreSQL(t *testing.T) {
	pg := dbtest.Start(t)
	own.Store(pg.PID, true)
	t.Cleanup(func() { own.Delete(pg.PID) })
	n := StartNode(t, "--log-level", "debug")
	c := n.Client("default")
	awaitDir(t, c.Names(), "/db", 1)
	file := filepath.Join(t.TempDir(), "password")
	set := func(realm, password string) string {
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		_, e, code := n.Ctl("realm", "set-db", realm, "--url", pg.URL, "--password-file", file)
		if code != 0 {
			t.Fatalf("set-db: %s", e)
		}
		return e
	}
	if e := set("default", "wrong"); !strings.Contains(e, "does not let sigmad in") {
		t.Errorf("with a wrong password set-db says %q", e)
	}
	if e := set("default", pg.Password); e != "" {
		t.Errorf("with the right one set-db says %q", e)
	}
	prog := n.Upload("pgtest")
	got, st := n.output(t, c, &api.ProcDesc{Program: prog, Memory: 256 << 20})
	if st.Code != 0 {
		t.Errorf("the proc ended with %v:\n%s", st, got)
	}
	if got := n.ctl(t, "sql", "SELECT sum(money) AS s FROM accounts"); got != "{\"s\":12}\n" {
		t.Errorf("what the proc wrote, through the file: %q", got)
	}
	n.ctl(t, "realm", "create", "other")
	set("other", pg.Password)
	awaitDir(t, n.Client("other").Names(), "/db", 1)
	if _, e, code := n.Ctl("--realm", "other", "sql", "SELECT * FROM accounts"); code != 1 || !strings.Contains(e, "does not exist") {
		t.Errorf("another realm's query: status %d, %q", code, e)
	}
	for name, args := range map[string][]string{
		"no password": {"--url", pg.URL}, "a password in the address": {"--url", "postgres://u:p@h/", "--password-file", file}, "no address": {"--password-file", file},
	} {
		if _, e, code := n.Ctl(append([]string{"realm", "set-db", "default"}, args...)...); code == 0 || e == "" {
			t.Errorf("set-db with %s: status %d, %q", name, code, e)
		}
	}
	if strings.Contains(n.err.String(), pg.Password) {
		t.Error("the password is in the log")
	}
	n.ctl(t, "realm", "set-db", "default", "--own")
	eventually(t, 20*time.Second, "the SQLite again", func() (bool, string) {
		_, e, _ := n.Ctl("sql", "SELECT * FROM accounts")
		return strings.Contains(e, "no such table"), e
	})
}

// Every node leads to the same databases.
func TestOneDatabaseForAllNodes(t *testing.T) {
	nodes := StartCluster(t, 2)
	awaitDir(t, nodes[0].Client("default").Names(), "/db", 2)
	nodes[1].ctl(t, "sql", "--session", "/db/n2/session", "CREATE TABLE t AS SELECT 'from n2' AS x")
	for _, n := range nodes {
		if got := n.ctl(t, "sql", "--session", "/db/~local/session", "SELECT x FROM t"); got != "{\"x\":\"from n2\"}\n" {
			t.Errorf("%s reads %q", n.Name, got)
		}
	}
}
