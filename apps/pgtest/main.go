// Pgtest is a proc that uses its realm's PostgreSQL with pgx, as any program
// would: only the dialling is σOS's. It runs what pgx's own basic tests do, and
// prints a line for each case.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sigmaos/sigma"
)

// connect is all that a program does in another way than elsewhere: it dials a
// path, and has no user, password or database to say.
func connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("host=db sslmode=disable user=any database=any")
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return sigma.DialPath(ctx, "/db/~any/postgres")
	}
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"db"}, nil }
	return pgx.ConnectConfig(ctx, cfg)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	failed := 0
	for _, c := range []struct {
		name string
		run  func(context.Context, *pgx.Conn) error
	}{
		{"connect", whoAmI}, {"prepared", prepared}, {"copy", copying}, {"cancel", canceling}, {"transaction", transaction},
		{"error", wrong}, {"large", large}, {"listen", listen}, {"other databases", others},
	} {
		conn, err := connect(ctx)
		if err == nil {
			err = c.run(ctx, conn)
			conn.Close(ctx)
		}
		if err != nil {
			failed++
			fmt.Printf("%s: %v\n", c.name, err)
			continue
		}
		fmt.Printf("%s: ok\n", c.name)
	}
	if failed > 0 {
		sigma.Exited(sigma.Status{Code: 1, Message: fmt.Sprint(failed, " cases failed")})
		os.Exit(1)
	}
}

func whoAmI(ctx context.Context, c *pgx.Conn) error {
	var user, database string
	var super bool
	err := c.QueryRow(ctx, "SELECT current_user, current_database(), rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&user, &database, &super)
	if err == nil && (user != database || !strings.HasPrefix(user, "sigma_") || super) {
		err = fmt.Errorf("user %s of database %s, superuser %v", user, database, super)
	}
	return err
}

func prepared(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Prepare(ctx, "add", "SELECT $1::int + $2::int"); err != nil {
		return err
	}
	for i := range 100 {
		var n int
		if err := c.QueryRow(ctx, "add", i, 1).Scan(&n); err != nil || n != i+1 {
			return fmt.Errorf("%d + 1 = %d, %v", i, n, err)
		}
	}
	return nil
}

func copying(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "CREATE TEMP TABLE copied (i int, s text)"); err != nil {
		return err
	}
	const rows = 20_000
	n, err := c.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"i", "s"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
		return []any{i, strings.Repeat("x", i%100)}, nil
	}))
	if err != nil || n != rows {
		return fmt.Errorf("CopyFrom: %d, %v", n, err)
	}
	var count, sum int64
	if err := c.QueryRow(ctx, "SELECT count(*), sum(i) FROM copied").Scan(&count, &sum); err != nil || count != rows || sum != rows*(rows-1)/2 {
		return fmt.Errorf("%d rows with sum %d, %v", count, sum, err)
	}
	return nil
}

// canceling asks for the end of a query over a connection of its own.
func canceling(ctx context.Context, c *pgx.Conn) error {
	done := make(chan error, 1)
	begin := time.Now()
	go func() {
		_, err := c.Exec(ctx, "SELECT pg_sleep(50)")
		done <- err
	}()
	for end := time.Now().Add(40 * time.Second); ; {
		if err := c.PgConn().CancelRequest(ctx); err != nil {
			return fmt.Errorf("CancelRequest: %w", err)
		}
		select {
		case err := <-done:
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "57014" || time.Since(begin) > 45*time.Second {
				return fmt.Errorf("the query ended after %v with %v", time.Since(begin), err)
			}
			return nil
		case <-time.After(100 * time.Millisecond): // it may not have begun
		}
		if time.Now().After(end) {
			return errors.New("it is not cancelled")
		}
	}
}

func transaction(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "CREATE TABLE IF NOT EXISTS accounts (name text PRIMARY KEY, money int); DELETE FROM accounts; INSERT INTO accounts VALUES ('a', 10), ('b', 0)"); err != nil {
		return err
	}
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE accounts SET money = money - 5 WHERE name = 'a'"); err != nil {
		return err
	}
	if err := tx.Rollback(ctx); err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE accounts SET money = money + 1")
		return err
	})
	var sum int
	if err == nil {
		err = c.QueryRow(ctx, "SELECT sum(money) FROM accounts").Scan(&sum)
	}
	if err == nil && sum != 12 {
		err = fmt.Errorf("the sum is %d, want 12", sum)
	}
	return err
}

func wrong(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SELEC 1")
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42601" {
		return fmt.Errorf("bad SQL: %v", err)
	}
	return c.Ping(ctx) // the connection goes on
}

func large(ctx context.Context, c *pgx.Conn) error {
	var s string
	err := c.QueryRow(ctx, "SELECT repeat('x', 20000000)").Scan(&s)
	if err == nil && len(s) != 20_000_000 {
		err = fmt.Errorf("%d bytes", len(s))
	}
	return err
}

func listen(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "LISTEN news; NOTIFY news, 'hello'"); err != nil {
		return err
	}
	n, err := c.WaitForNotification(ctx)
	if err == nil && n.Payload != "hello" {
		err = fmt.Errorf("notified of %q", n.Payload)
	}
	return err
}

// others: no database of another realm can be reached, whatever is asked for.
func others(ctx context.Context, c *pgx.Conn) error {
	for _, sql := range []string{"CREATE DATABASE mine", "CREATE ROLE me", "CREATE EXTENSION dblink", "SELECT pg_read_file('/etc/passwd')", "COPY (SELECT 1) TO PROGRAM 'id'", "SET ROLE postgres", "SELECT * FROM pg_authid"} {
		if _, err := c.Exec(ctx, sql); err == nil {
			return fmt.Errorf("%s is allowed", sql)
		}
	}
	return nil
}
