package gateway

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func header(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll("0d0a0d0a000d0a515549540a"+s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadProxy(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []byte
		want string
		ok   bool
		fail bool
	}{
		"IPv4":             {in: header(t, "21 11 000c 01020304 05060708 0050 01bb"), want: "1.2.3.4:80", ok: true},
		"IPv6":             {in: header(t, "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 1f90 01bb"), want: "[2001:db8::1]:8080", ok: true},
		"with extensions":  {in: header(t, "21 11 0010 01020304 05060708 0050 01bb 04000100"), want: "1.2.3.4:80", ok: true},
		"a health check":   {in: header(t, "20 00 0000")},
		"version 1":        {in: []byte("PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n"), fail: true},
		"version 3":        {in: header(t, "31 11 000c 01020304 05060708 0050 01bb"), fail: true},
		"UDP":              {in: header(t, "21 12 000c 01020304 05060708 0050 01bb"), fail: true},
		"too short inside": {in: header(t, "21 11 0004 01020304"), fail: true},
		"cut":              {in: header(t, "21 11 000c 01020304"), fail: true},
		"too long":         {in: header(t, "21 11 ffff"), fail: true},
		"command":          {in: header(t, "2f 11 000c 01020304 05060708 0050 01bb"), fail: true},
		"nothing":          {fail: true},
	} {
		r := bytes.NewReader(append(tt.in, "payload"...))
		if tt.fail && len(tt.in) < 40 && name != "version 1" {
			r = bytes.NewReader(tt.in)
		}
		got, ok, err := readProxy(r)
		if (err != nil) != tt.fail || ok != tt.ok || ok && got.String() != tt.want {
			t.Errorf("%s: %v, %v, %v; want %s, %v", name, got, ok, err, tt.want, tt.ok)
		}
		if !tt.fail && r.Len() != len("payload") {
			t.Errorf("%s: %d bytes of the payload are left, want %d", name, r.Len(), len("payload"))
		}
	}
}

func FuzzReadProxy(f *testing.F) {
	b, _ := hex.DecodeString("0d0a0d0a000d0a515549540a2111000c01020304050607080050" + "01bb")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok, err := readProxy(bytes.NewReader(b)); ok && (err != nil || !a.IsValid()) {
			t.Fatalf("%x: %v %v", b, a, err)
		}
	})
}
