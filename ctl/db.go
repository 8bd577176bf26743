package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// realmDB sets where a realm's database is. The password comes from a file and is
// never printed.
func (a *app) realmDB() *cobra.Command {
	var r api.DBRequest
	var file string
	c := &cobra.Command{Use: "set-db REALM", Short: "Say on which PostgreSQL a realm's database (/db) is", Args: cobra.ExactArgs(1),
		Example: "  sigmactl realm set-db shop --url postgres://sigma@db.example:5432/postgres?sslmode=verify-full --password-file pg.password\n  sigmactl realm set-db shop --own",
		Long: `set-db names a PostgreSQL server and a user of it who may make roles and
databases. At the realm's first use sigmad makes a role and a database for it;
procs never see a password. It takes effect at once. Without set-db, and after
--own, a realm has an SQLite of the cluster's.`}
	f := c.Flags()
	f.StringVar(&r.URL, "url", "", "postgres://USER@HOST:PORT/DATABASE, without the password")
	f.StringVar(&file, "password-file", "", "file with that user's password; - is standard input")
	f.BoolVar(&r.Own, "own", false, "back to an SQLite of the cluster's")
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, args []string) error {
		r.Realm = args[0]
		if !r.Own {
			if r.URL == "" || file == "" {
				return usage("--url U and --password-file F (or --own)")
			}
			password, err := readSecret(file)
			if err != nil {
				return err
			}
			r.Password = password
		}
		var i api.DBInfo
		if err := cl.Call(ctx, api.MRealmDB, r, &i); err != nil {
			return err
		}
		return a.print(i, func(w io.Writer) error {
			if i.Problem != "" {
				fmt.Fprintf(a.err, "warning: it is set, but does not work yet: %s\n", i.Problem)
			}
			where := "an SQLite of the cluster's"
			if !i.Own {
				where = i.Database + " at " + i.URL
			}
			_, err := fmt.Fprintf(w, "the database of realm %s is %s\n", i.Realm, where)
			return err
		})
	})
	return a.data(c, false)
}

// sql runs queries in the realm's database.
func (a *app) sql() *cobra.Command {
	var path string
	c := &cobra.Command{Use: "sql [QUERY | -]", Short: "Run SQL in the realm's database; rows come as lines of JSON", Args: cobra.ExactArgs(1),
		Example: "  sigmactl sql 'CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)'\n  sigmactl sql '{\"sql\":\"SELECT * FROM t WHERE name = ?1\",\"args\":[\"ann\"]}'\n  sigmactl sql - < schema.sql"}
	c.Flags().StringVar(&path, "session", "/db/~any/session", "the session's path")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		text := args[0]
		if text == "-" {
			b, err := io.ReadAll(io.LimitReader(os.Stdin, 2<<20))
			if err != nil {
				return err
			}
			text = string(b)
		}
		if strings.TrimSpace(text) == "" {
			return usage("an empty query")
		}
		f, err := cl.Names().OpenFile(ctx, path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		stop := context.AfterFunc(ctx, func() { f.Close() })
		defer stop()
		if _, err := io.WriteString(f, text); err != nil {
			return err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{a.out}, struct{ io.Reader }{f}, make([]byte, 64<<10))
		return err
	})
	return c
}
