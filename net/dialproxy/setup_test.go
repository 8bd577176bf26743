package dialproxy

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestWindow(t *testing.T) {
	var k incoming
	for i, tt := range []struct {
		n    uint64
		want bool
	}{
		{0, false}, {1, true}, {1, false}, {3, true}, {2, true}, {3, false}, {window, true}, {window + 3, true}, {4, true}, {3, false},
		{3 * window, true}, {2 * window, false}, {2*window + 1, true}, {2*window + 1, false}, {1 << 62, true}, {1<<62 - 5, true}, {1<<62 - 5, false},
	} {
		if got := k.fresh(tt.n); got != tt.want {
			t.Errorf("step %d: fresh(%d) is %v", i, tt.n, got)
		}
	}
}

func FuzzSetup(f *testing.F) {
	s := setup{from: 1, fromBoot: 2, to: 3, toBoot: 4, counter: 5, caller: caller("realm", "proc"), service: "named"}
	b, _ := s.encode([]byte("key"))
	f.Add(b)
	f.Add([]byte{FirstByte, 1, 0, 80})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSetup(b)
		if err != nil {
			return
		}
		// What decodes is what it says: encoded again it is the same, but for
		// flags that mean nothing and the head and signature, which others check.
		again, err := s.encode([]byte("key"))
		if err != nil || len(again) != len(b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
		if binary.BigEndian.Uint64(b[16:]) != s.counter {
			t.Fatalf("counter %d", s.counter)
		}
	})
}

// Only a genuine answer to the message is taken as accepted, and not a byte
// behind it is read.
func FuzzAnswer(f *testing.F) {
	key := []byte("key")
	f.Add(answer(key, 5, accepted))
	f.Add(answer(key, 6, accepted))
	f.Add(answer(nil, 5, accepted))
	f.Add(answer([]byte("another"), 5, busy))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		st, err := readAnswer(r, key, 5)
		if len(b)-r.Len() > answerSize {
			t.Fatalf("%d bytes were read", len(b)-r.Len())
		}
		if err == nil && st != staleKey && st != badSetup && !bytes.HasPrefix(b, answer(key, 5, st)) {
			t.Fatalf("%x is taken for status %d", b, st)
		}
	})
}
