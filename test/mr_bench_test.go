package test

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// bench mr runs job and plain program on a cluster of its own, compares their
// output, and has the rows that are promised. How fast they are is not for a test.
func TestBenchMR(t *testing.T) {
	n := StartNode(t)
	small, err := filepath.Abs(corpus)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd, out, errs := n.bench(ctx, "mr", "-n", "1", "--corpus", small, "-o", "json")
	said, _ := io.ReadAll(errs)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("bench mr: %v\n%s\n%s", err, said, n.err)
	}
	var f figure
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	if f.Bench != "mr" || f.Row != "ux" || f.Unit != "s" || f.Value <= 0 || f.Against != "plain" || f.Ratio <= 0 {
		t.Errorf("the headline is %+v", f)
	}
	for _, want := range [][2]string{{"ux", "cpu"}, {"s3", "wall"}, {"ux-pairs", "wall"}, {"s3-pairs", "wall"}, {"plain", "wall"}} {
		if !slices.ContainsFunc(f.Rows, func(r figure) bool { return r.Row == want[0] && r.Measure == want[1] && r.Value > 0 }) {
			t.Errorf("no row %s of %s", want[1], want[0])
		}
	}
}
