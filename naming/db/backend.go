package db

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"sigmaos/api"
)

// Backend is one realm's database.
type Backend interface {
	// Connect opens a connection; it is the caller's to close.
	Connect(ctx context.Context) (Conn, error)
}

// Conn is a connection with a database. One call at a time.
type Conn interface {
	// Query runs q and calls emit with each row, a JSON object and a newline; an
	// error of emit ends it. Errors are *api.Error; what is wrong with the query is
	// Invalid or Conflict, in the database's words.
	Query(ctx context.Context, q Query, emit func(line []byte) error) error
	Close() error
}

// Query is what is asked.
type Query struct {
	SQL  string `json:"sql"`
	Args []any  `json:"args"`
}

// Limits of a realm's sessions. Zero values are the defaults.
type Limits struct {
	Sessions int           // open at once; default 32
	Text     int           // bytes of a query; default 1 MiB
	Rows     int64         // of a result; default 1,000,000
	Bytes    int64         // of a result; default 256 MiB
	Time     time.Duration // of a query, until its last row is taken; default 60 s
}

func def[T int | int64 | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

func (l *Limits) defaults() {
	def(&l.Sessions, 32)
	def(&l.Text, 1<<20)
	def(&l.Rows, 1_000_000)
	def(&l.Bytes, 256<<20)
	def(&l.Time, time.Minute)
}

// maxArgs bounds the arguments of a query.
const maxArgs = 1000

// ParseQuery reads what was written to a session.
func ParseQuery(text []byte) (q Query, err error) {
	bad := func(format string, args ...any) (Query, error) {
		return Query{}, api.E(api.Invalid, "query", "", format, args...)
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return bad("write a query first, then read its rows")
	case !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0:
		return bad("a query is UTF-8 without NUL")
	case text[0] != '{':
		return Query{SQL: string(text)}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return bad("want SQL, or {\"sql\":\"…\",\"args\":[…]}: %v", err)
	}
	if dec.More() {
		return bad("there is something behind the JSON object")
	}
	if strings.TrimSpace(q.SQL) == "" || strings.IndexByte(q.SQL, 0) >= 0 {
		return bad("\"sql\" is empty or has NUL in it")
	}
	if len(q.Args) > maxArgs {
		return bad("%d arguments; the limit is %d", len(q.Args), maxArgs)
	}
	for i, a := range q.Args {
		switch v := a.(type) {
		case nil, bool, string:
		case json.Number:
			if n, err := v.Int64(); err == nil {
				q.Args[i] = n
			} else if f, err := v.Float64(); err == nil {
				q.Args[i] = f
			} else {
				return bad("argument %d is no number that a database has", i+1)
			}
		default:
			return bad("argument %d is a list or an object; pass its JSON as text", i+1)
		}
	}
	return q, nil
}

// Row builds the line of a row.
type Row struct{ b []byte }

// Names makes the columns' names different, as an object needs them: the second
// "a" is "a_2". The result is the keys, in JSON.
func Names(columns []string) [][]byte {
	seen := make(map[string]int)
	out := make([][]byte, len(columns))
	for i, c := range columns {
		c = strings.ToValidUTF8(c, "�")
		seen[c]++
		if n := seen[c]; n > 1 {
			for seen[c+suffix(n)] > 0 {
				n++
			}
			c += suffix(n)
			seen[c]++
		}
		out[i] = append(appendJSON(nil, c), ':')
	}
	return out
}

func suffix(n int) string { return "_" + string(appendJSON(nil, n)) }

// Begin starts a row.
func (r *Row) Begin() { r.b = append(r.b[:0], '{') }

// Raw adds a column whose value is JSON already.
func (r *Row) Raw(key, value []byte) {
	if len(r.b) > 1 {
		r.b = append(r.b, ',')
	}
	r.b = append(append(r.b, key...), value...)
}

// Value adds a column.
func (r *Row) Value(key []byte, v any) { r.Raw(key, appendJSON(nil, v)) }

// End is the line, which is good until the next Begin.
func (r *Row) End() []byte {
	r.b = append(r.b, '}', '\n')
	return r.b
}

// Affected is the line of a statement without rows.
func Affected(n int64) []byte {
	return append(append([]byte(`{"affected":`), appendJSON(nil, n)...), '}', '\n')
}

// appendJSON writes v; numbers that JSON does not have are text.
func appendJSON(b []byte, v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		out.Reset()
		enc.Encode(strings.ToValidUTF8(toText(v), "�"))
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}
