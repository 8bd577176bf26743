package api

import (
	"strings"
	"testing"
)

func TestEndpointsAreTextAndBack(t *testing.T) {
	seen := make(map[Endpoint]bool)
	for _, tt := range []struct {
		node uint16
		boot uint32
	}{{0, 0}, {1, 7}, {65535, 1<<32 - 1}} {
		e, id := NewEndpoint(tt.node, tt.boot)
		node, boot, got, ok := e.Parse()
		if !ok || node != tt.node || boot != tt.boot || got != id {
			t.Errorf("%s: %d, %d, %x, %v; want %d, %d, %x", e, node, boot, got, ok, tt.node, tt.boot, id)
		}
		if seen[e] || len(e) > 40 || strings.Trim(string(e), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%q is no short text of its own", e)
		}
		seen[e] = true
	}
}

// A token has one spelling: nothing else is read as one.
func FuzzParseEndpoint(f *testing.F) {
	good, _ := NewEndpoint(1, 2)
	for _, s := range []string{string(good), "", "ep1-", string(good[:39]), string(good) + "a", strings.ToUpper(string(good)), string(good[:39]) + "b", "ep2" + string(good[3:])} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		node, boot, id, ok := Endpoint(s).Parse()
		if !ok {
			return
		}
		var b [endpointBytes]byte
		b[0], b[1] = byte(node>>8), byte(node)
		b[2], b[3], b[4], b[5] = byte(boot>>24), byte(boot>>16), byte(boot>>8), byte(boot)
		copy(b[6:], id[:])
		if again := endpointPrefix + endpointCode.EncodeToString(b[:]); again != s {
			t.Fatalf("%q is read as %q", s, again)
		}
		if e := Endpoint(s).Short(); len(e) > 30 {
			t.Fatalf("short: %q", e)
		}
	})
}
