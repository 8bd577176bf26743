package slot

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"sigmaos/internal/embedtest"
)

func TestStartMessage(t *testing.T) {
	b := appendStart([]byte("before"), 9, &Spec{Program: "s1-x", Arg0: "/bin/x", Args: []string{"", "a b"}, Env: []string{"K=V"}, FDs: 77})
	b = bytes.TrimPrefix(b, []byte("before"))
	for i, want := range []uint32{9, 77, 3, 1} {
		if got := binary.LittleEndian.Uint32(b[4*i:]); got != want {
			t.Errorf("word %d is %d, want %d", i, got, want)
		}
	}
	if got, want := string(b[16:]), "s1-x\x00/bin/x\x00\x00a b\x00K=V\x00"; got != want {
		t.Errorf("strings %q, want %q", got, want)
	}
}

func TestConfigMessage(t *testing.T) {
	c := config{uid: 5, execFD: 4096, filter: make([]byte, 24), key: 1<<63 + 1, llSize: 24, llFS: 7, llNet: 3, llScoped: 1, binfs: "/b/r", jail: "/j", apparmor: ""}
	b := c.encode()
	le := binary.LittleEndian
	if le.Uint32(b) != protoVersion || le.Uint32(b[4:]) != 5 || le.Uint32(b[8:]) != 4096 || le.Uint32(b[12:]) != 3 || le.Uint64(b[24:]) != 1<<63+1 || le.Uint64(b[32:]) != 7 {
		t.Errorf("%x", b)
	}
	if got, want := string(b[configSize+24:]), "/b/r\x00/j\x00\x00"; got != want {
		t.Errorf("strings %q, want %q", got, want)
	}
	if b := command(3, 9); len(b) != 8 || le.Uint32(b) != 3 || le.Uint32(b[4:]) != 9 {
		t.Errorf("command %x", b)
	}
}

func TestReport(t *testing.T) {
	b := make([]byte, reportSize)
	le := binary.LittleEndian
	for i, v := range []uint32{kindExit, 4, 35, 2, 0x0700} {
		le.PutUint32(b[4*i:], v)
	}
	for i, v := range []uint64{1000, 500, 64, 111, 222} {
		le.PutUint64(b[24+8*i:], v)
	}
	r, err := parseReport(b)
	want := report{kind: kindExit, seq: 4, stage: 35, errno: 2, status: 0x0700, cpu: 1500 * time.Microsecond, maxRSS: 64 << 10, taken: 111, exec: 222}
	if err != nil || r != want {
		t.Errorf("%+v %v, want %+v", r, err, want)
	}
	if got := r.err().Error(); !strings.Contains(got, "open the program") || !strings.Contains(got, "no such file") {
		t.Errorf("its error says %q", got)
	}
	for _, n := range []int{0, 1, reportSize - 1, reportSize + 1} {
		if _, err := parseReport(make([]byte, n)); err == nil {
			t.Errorf("%d bytes pass for a report", n)
		}
	}
}

// PID 1 is trusted no further than it must be: it shares the uid with procs.
func FuzzParseReport(f *testing.F) {
	f.Add(make([]byte, reportSize))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseReport(b); err == nil {
			_ = r.err().Error()
			_ = stageName(r.stage)
		} else if len(b) == reportSize {
			t.Errorf("%x: %v", b, err)
		}
	})
}

// The embedded PID 1 is what its source gives, where the compilers are those
// that made it.
func TestEmbeddedInitIsWhatItsSourceGives(t *testing.T) {
	if len(initProgram) > 16<<10 {
		t.Errorf("PID 1 has grown to %d bytes", len(initProgram))
	}
	embedtest.Same(t, "init", "init")
}
