package postgres_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/db"
	"sigmaos/naming/db/dbtest"
	"sigmaos/naming/db/postgres"
)

// One realm's server takes connections and says nothing, or nonsense; it gets an
// error in time, and another realm's queries go on.
func TestFAULTS_OneRealmsServerHangs(t *testing.T) {
	pg := dbtest.Start(t)
	s := postgres.NewServer(postgres.Config{Connect: 4 * time.Second, Conns: 4})
	for name, says := range map[string]string{"hangs": "", "nonsense": "HTTP/1.1 400 Bad Request\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			defer l.Close()
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					wg.Go(func() {
						defer c.Close()
						io.WriteString(c, says)
						io.Copy(io.Discard, c)
					})
				}
			})
			sick := postgres.Realm{ID: "sick", URL: "postgres://sigma@" + l.Addr().String() + "/postgres?sslmode=disable", Password: "x", Own: "y"}
			begin := time.Now()
			errs := make(chan error, 8)
			for range 8 {
				wg.Go(func() {
					c, err := s.Backend(sick).Connect(t.Context())
					if err == nil {
						c.Close()
					}
					errs <- err
				})
			}
			healthy := session(t, db.New(s.Backend(realm(pg, "healthy")), db.Limits{}, ""))
			for range 20 {
				if got, err := healthy("SELECT 1 AS a"); err != nil || got != "{\"a\":1}\n" {
					t.Fatalf("the healthy realm: %q, %v", got, err)
				}
			}
			for range 8 {
				if err := <-errs; api.KindOf(err) != api.Unavailable && api.KindOf(err) != api.Busy {
					t.Errorf("the sick realm: %v, want Unavailable, or Busy where it has all it may", err)
				} else if strings.Contains(err.Error(), "127.0.0.1") {
					t.Errorf("the error tells the address: %v", err)
				}
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("the errors came after %v", took)
			}
		})
	}
}

// A connection that the server ends is an error once, and the next session works.
func TestFAULTS_ConnectionEnds(t *testing.T) {
	pg := dbtest.Start(t)
	s := postgres.NewServer(postgres.Config{})
	fs := db.New(s.Backend(realm(pg, "red")), db.Limits{}, "")
	q := session(t, fs)
	if _, err := q("SELECT pg_terminate_backend(pg_backend_pid())"); api.KindOf(err) != api.Unavailable {
		t.Errorf("a query whose connection ends: %v, want Unavailable", err)
	}
	if _, err := q("SELECT 1"); api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "open the session again") {
		t.Errorf("the next query of that session: %v", err)
	}
	if got, err := session(t, fs)("SELECT 1 AS a"); got != "{\"a\":1}\n" {
		t.Errorf("the next session: %q, %v", got, err)
	}
}
