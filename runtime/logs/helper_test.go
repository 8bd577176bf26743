package logs

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"sigmaos/internal/clock"
	"sigmaos/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// small limits make every bound reachable with little data.
var small = Limits{RealmBytes: 64 << 10, ProcBytes: 16 << 10, SegmentBytes: 8 << 10}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func open(t testing.TB, dir string, lim Limits, c clock.Clock) *Store {
	t.Helper()
	s, err := Open(dir, lim, c, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func fake() *clock.Fake { return clock.NewFake(time.Unix(1_700_000_000, 0)) }

// fatal is what testing.T and rapid.T share.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checker takes records and compares them with everything that was written.
type checker struct {
	t       fatal
	want    []byte
	at      int
	markers int
	dropped int
}

func (c *checker) record(r Record) error {
	c.t.Helper()
	if r.Stream != 0 {
		end := c.at + len(r.Data)
		if end > len(c.want) || !bytes.Equal(c.want[c.at:end], r.Data) {
			c.t.Fatalf("at %d of %d got %.80q, want %.80q", c.at, len(c.want), r.Data, c.want[c.at:min(end, len(c.want))])
		}
		c.at = end
		return nil
	}
	end := c.at + int(r.DroppedBytes)
	if end > len(c.want) {
		c.t.Fatalf("at %d of %d: %q is more than was written", c.at, len(c.want), r.Data)
	}
	if lines := bytes.Count(c.want[c.at:end], []byte{'\n'}); int64(lines) != r.DroppedLines {
		c.t.Fatalf("marker %q for %d lines", r.Data, lines)
	}
	if c.at > 0 && c.want[c.at-1] != '\n' && r.Data[0] != '\n' {
		c.t.Fatalf("marker %q continues an open line", r.Data)
	}
	c.at = end
	c.markers++
	c.dropped += int(r.DroppedBytes)
	return nil
}

// check reads a log from the beginning: each byte that was written must come,
// in order, or be counted in a marker.
func check(t fatal, s *Store, realm, proc string, want []byte) *checker {
	t.Helper()
	c := &checker{t: t, want: want}
	if err := s.Read(context.Background(), realm, proc, Options{}, c.record); err != nil {
		t.Fatalf("%v", err)
	}
	if c.at != len(want) {
		t.Fatalf("%s: read ended at %d of %d", proc, c.at, len(want))
	}
	return c
}

// text reads a log as people see it.
func text(t fatal, s *Store, realm, proc string, o Options) string {
	t.Helper()
	var b bytes.Buffer
	err := s.Read(context.Background(), realm, proc, o, func(r Record) error {
		b.Write(r.Data)
		return nil
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return b.String()
}

// disk is how many files are below dir and how many bytes they have.
func disk(t fatal, dir string) (files int, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		in, err := d.Info()
		if err == nil {
			files++
			size += in.Size()
		}
		return err
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return files, size
}
