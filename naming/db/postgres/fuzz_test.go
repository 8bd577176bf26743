package postgres

import (
	"bytes"
	"io"
	"testing"
)

type half struct {
	io.Reader
	io.Writer
}

// No first message of a proc does harm.
func FuzzReadStartup(f *testing.F) {
	for _, s := range []string{"", "\x00\x00\x00\x08\x04\xd2\x16\x2f\x00\x00\x00\x08\x00\x03\x00\x00", "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01abcd", "\x00\x00\x00\x12\x00\x03\x00\x00user\x00me\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readStartup(half{bytes.NewReader(b), io.Discard})
		if err != nil {
			return
		}
		for _, k := range []string{"user", "database", "replication"} {
			if _, ok := m.params[k]; ok {
				t.Errorf("%s is taken from %q", k, b)
			}
		}
	})
}
