// Package sqlite is the database of a realm on a fresh cluster: an SQLite file,
// opened by a process that serves this realm alone.
//
// The process ([Main]) is sigmad under another name. It is held by Landlock to its
// realm's directory, by limits to so much disk and memory, and speaks 9P on a Unix
// socket that root alone can reach; sigmad hands connections on to it (package
// roles). So neither a query that eats a core, nor a flaw in SQLite, touches
// sigmad or another realm: ATTACH of another file finds nothing, and is off.
package sqlite

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"time"
	"unicode/utf8"

	driver "modernc.org/sqlite"

	"sigmaos/api"
	"sigmaos/naming/db"
)

// Numbers of SQLite's (sqlite3.h).
const (
	limitLength   = 0
	limitAttached = 7

	codeBusy       = 5
	codeLocked     = 6
	codeNoMem      = 7
	codeReadOnly   = 8
	codeInterrupt  = 9
	codeIOErr      = 10
	codeCorrupt    = 11
	codeFull       = 13
	codeCantOpen   = 14
	codeTooBig     = 18
	codeConstraint = 19
	codeAuth       = 23
	codeNotADB     = 26
)

// maxValue bounds one text or blob.
const maxValue = 64 << 20

// File is a database file as a [db.Backend].
type File struct{ db *sql.DB }

// Open opens path, which is made when it is not there. memory bounds what SQLite
// holds, in bytes; 0 is no bound.
func Open(path string, memory int64) (*File, error) {
	q := url.Values{}
	q.Set("_busy_timeout", "5000")
	for _, p := range []string{"journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(ON)", "temp_store(MEMORY)", "trusted_schema(OFF)", "cell_size_check(ON)"} {
		q.Add("_pragma", p)
	}
	d, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, wrong(err)
	}
	d.SetMaxIdleConns(0) // what a session left does not reach another
	d.SetConnMaxLifetime(0)
	if memory > 0 {
		if _, err := d.Exec("PRAGMA hard_heap_limit=" + string(mustJSON(memory))); err != nil {
			d.Close()
			return nil, wrong(err)
		}
	}
	return &File{d}, nil
}

func mustJSON(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

// Close closes the file.
func (f *File) Close() error { return f.db.Close() }

// Connect opens a connection with the file.
func (f *File) Connect(ctx context.Context) (db.Conn, error) {
	c, err := f.db.Conn(ctx)
	if err != nil {
		return nil, wrong(err)
	}
	for id, n := range map[int]int{limitAttached: 0, limitLength: maxValue} {
		if _, err := driver.Limit(c, id, n); err != nil {
			c.Close()
			return nil, wrong(err)
		}
	}
	return &conn{c}, nil
}

type conn struct{ c *sql.Conn }

func (c *conn) Close() error { return c.c.Close() }

// Query runs all statements of q, and gives the rows of the last.
func (c *conn) Query(ctx context.Context, q db.Query, emit func([]byte) error) error {
	rows, err := c.c.QueryContext(ctx, q.SQL, q.Args...)
	if err != nil {
		return wrong(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return wrong(err)
	}
	if len(columns) == 0 {
		for rows.Next() {
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return wrong(err)
		}
		var n int64
		if err := c.c.QueryRowContext(ctx, "SELECT changes()").Scan(&n); err != nil {
			return wrong(err)
		}
		return emit(db.Affected(n))
	}
	names := db.Names(columns)
	values, at := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		at[i] = &values[i]
	}
	var row db.Row
	for rows.Next() {
		if err := rows.Scan(at...); err != nil {
			return wrong(err)
		}
		row.Begin()
		for i, v := range values {
			row.Value(names[i], shown(v))
		}
		if err := emit(row.End()); err != nil {
			return err
		}
	}
	return wrong(rows.Err())
}

// shown is a value as JSON has it: blobs, and text that is no UTF-8, in base64.
func shown(v any) any {
	switch v := v.(type) {
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case string:
		if !utf8.ValidString(v) {
			return base64.StdEncoding.EncodeToString([]byte(v))
		}
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return json.RawMessage(append(mustJSON(int64(v)), ".0"...)) // a REAL stays one
		}
	case time.Time:
		return v.Format(time.RFC3339Nano)
	}
	return v
}

// wrong turns an error of SQLite into one for callers, in its words.
func wrong(err error) error {
	var known *api.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return api.E(api.Canceled, "query", "", "%v", err)
	}
	kind := api.Invalid
	var e *driver.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case codeBusy, codeLocked, codeFull, codeNoMem, codeIOErr:
			kind = api.Busy
		case codeConstraint:
			kind = api.Conflict
		case codeReadOnly, codeAuth:
			kind = api.Denied
		case codeInterrupt:
			kind = api.Canceled
		case codeTooBig:
			kind = api.TooLarge
		case codeCorrupt, codeCantOpen, codeNotADB:
			kind = api.Unavailable
		}
	}
	return api.E(kind, "query", "", "%v", err)
}
