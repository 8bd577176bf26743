package db

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// What is written to a session is a query or an error.
func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"SELECT 1", "", `{"sql":"x","args":[1,2.5,null,true,"s"]}`, `{"sql":"x","args":[{}]}`, "{", "\xff", `{"sql":"x"} y`, `{"sql":"x","args":[1e400]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseQuery(b)
		if err == nil && (strings.TrimSpace(q.SQL) == "" || !utf8.ValidString(q.SQL) || strings.ContainsRune(q.SQL, 0)) {
			t.Errorf("%q is taken for the query %q", b, q.SQL)
		}
	})
}

// Columns of any names make keys that differ.
func FuzzNames(f *testing.F) {
	f.Add("a,a,a_2,a")
	f.Add(",,\xff,\"")
	f.Fuzz(func(t *testing.T, s string) {
		var keys []string
		var row Row
		row.Begin()
		names := Names(strings.Split(s, ","))
		for _, n := range names {
			keys = append(keys, string(n))
			row.Value(n, 1)
		}
		slices.Sort(keys)
		if len(slices.Compact(keys)) != len(names) {
			t.Errorf("the columns %q have keys %q", s, keys)
		}
		var v map[string]int
		if err := json.Unmarshal(row.End(), &v); err != nil || len(v) != len(names) {
			t.Errorf("the row %s is no object of %d columns: %v", row.b, len(names), err)
		}
	})
}
