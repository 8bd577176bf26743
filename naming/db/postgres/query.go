package postgres

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sigmaos/api"
	"sigmaos/naming/db"
)

type backend struct {
	s *Server
	r Realm
}

func (b backend) Connect(ctx context.Context) (db.Conn, error) {
	c, release, err := b.s.open(ctx, b.r, map[string]string{"application_name": "sigma session"})
	if err != nil {
		return nil, err
	}
	return &conn{c, release}, nil
}

type conn struct {
	c       *pgconn.PgConn
	release func()
}

func (c *conn) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer c.release()
	return c.c.Close(ctx)
}

// Query gives the rows of each statement of q.
func (c *conn) Query(ctx context.Context, q db.Query, emit func([]byte) error) error {
	if c.c.IsClosed() {
		return api.E(api.Unavailable, "query", "", "the connection with the database is lost; open the session again")
	}
	// What ends the query early must leave the connection usable.
	stop := context.AfterFunc(ctx, func() {
		cctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c.c.CancelRequest(cctx)
	})
	defer stop()
	qctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	giveUp := context.AfterFunc(ctx, func() { time.AfterFunc(10*time.Second, cancel) }) // it does not even cancel
	defer giveUp()
	if len(q.Args) > 0 {
		args := make([][]byte, len(q.Args))
		for i, a := range q.Args {
			if a != nil {
				args[i] = []byte(fmt.Sprint(a))
			}
		}
		return c.rows(c.c.ExecParams(qctx, q.SQL, args, nil, nil, nil), emit)
	}
	results := c.c.Exec(qctx, q.SQL)
	var err error
	for results.NextResult() {
		if rerr := c.rows(results.ResultReader(), emit); err == nil && rerr != nil {
			err = rerr
			c.drop(ctx)
		}
	}
	if cerr := results.Close(); err == nil {
		err = cerr
	}
	return wrong(err)
}

// drop cancels what is under way, because its rows are not wanted any more.
func (c *conn) drop(ctx context.Context) {
	if ctx.Err() == nil {
		cctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		c.c.CancelRequest(cctx)
	}
}

func (c *conn) rows(r *pgconn.ResultReader, emit func([]byte) error) error {
	var columns []string
	fields := r.FieldDescriptions()
	types := make([]uint32, len(fields))
	for i, f := range fields {
		columns, types[i] = append(columns, f.Name), f.DataTypeOID
	}
	names := db.Names(columns)
	var row db.Row
	for r.NextRow() {
		row.Begin()
		for i, v := range r.Values() {
			if i < len(names) {
				row.Raw(names[i], shown(types[i], v))
			}
		}
		if err := emit(row.End()); err != nil {
			c.drop(context.Background())
			r.Close()
			return err
		}
	}
	tag, err := r.Close()
	if err != nil {
		return wrong(err)
	}
	if len(fields) == 0 {
		return emit(db.Affected(tag.RowsAffected()))
	}
	return nil
}

// Types whose text JSON can have as it is, or another way.
const (
	typeBool, typeBytea                = 16, 17
	typeInt8, typeInt2, typeInt4       = 20, 21, 23
	typeOID, typeFloat4, typeFloat8    = 26, 700, 701
	typeJSON, typeJSONB, typeNumeric   = 114, 3802, 1700
	infinity, minusInfinity, notNumber = "Infinity", "-Infinity", "NaN"
)

// shown is a value, which the server gives as text, in JSON. A numeric stays text:
// programs would round it.
func shown(typ uint32, v []byte) []byte {
	if v == nil {
		return []byte("null")
	}
	s := string(v)
	switch typ {
	case typeBool:
		if s == "t" {
			return []byte("true")
		}
		return []byte("false")
	case typeInt2, typeInt4, typeInt8, typeOID:
		return v
	case typeFloat4, typeFloat8:
		if s != infinity && s != minusInfinity && s != notNumber {
			return v
		}
	case typeJSON, typeJSONB:
		var out strings.Builder
		enc := json.NewEncoder(&out) // in one line
		enc.SetEscapeHTML(false)
		if enc.Encode(json.RawMessage(v)) == nil {
			return []byte(strings.TrimSpace(out.String()))
		}
	case typeBytea:
		if b, err := hex.DecodeString(strings.TrimPrefix(s, `\x`)); err == nil {
			s = base64.StdEncoding.EncodeToString(b)
		}
	}
	b, err := json.Marshal(strings.ToValidUTF8(s, "�"))
	if err != nil {
		return []byte("null")
	}
	return b
}

// wrong turns an error of a query into one for callers, in the server's words.
func wrong(err error) error {
	var known *api.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if errors.Is(err, context.Canceled) {
			return api.E(api.Canceled, "query", "", "%v", err)
		}
		return api.E(api.Unavailable, "query", "", "the connection with the database is lost; open the session again")
	}
	kind := api.Invalid
	switch pg.Code[:min(2, len(pg.Code))] {
	case "23", "40":
		kind = api.Conflict
	case "53", "55":
		kind = api.Busy
	case "57":
		kind = api.Canceled
		if pg.Code != "57014" {
			kind = api.Unavailable
		}
	case "54":
		kind = api.TooLarge
	case "58", "XX":
		kind = api.Unavailable
	}
	if pg.Code == "42501" {
		kind = api.Denied
	}
	text := pg.Message
	if pg.Detail != "" {
		text += " (" + pg.Detail + ")"
	}
	if pg.Position > 0 {
		text += fmt.Sprintf(" at character %d", pg.Position)
	}
	return api.E(kind, "query", "", "%s: %s", pg.Code, text)
}
