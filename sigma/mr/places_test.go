package mr

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigmaos/sigma/tasks"
)

// inputOf makes files of sizes in KiB: "n1:300 n1:900 s3:5".
func inputOf(text string) (out []found) {
	for i, w := range strings.Fields(text) {
		node, size, _ := strings.Cut(w, ":")
		f := found{path: fmt.Sprint("/ux/", node, "/in/", i)}
		if node == "s3" {
			f.path = fmt.Sprint("/s3/~any/in/", i)
		}
		fmt.Sscan(size, &f.size)
		f.size <<= 10
		out = append(out, f)
	}
	return out
}

func TestStretches(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"n1:5", "1 5"},
		{"n1:2000 n1:2000 n2:2000", "2 4000, 1 2000"},
		{"n1:2000 s3:2000 n1:2000", "1 2000, 1 2000, 1 2000"},
		{"n1:2000 n2:5 n2:5 n1:2000", "1 2000, 3 2010"}, // what is short goes on
		{"n1:2000 n2:2000 n3:5", "1 2000, 2 2005"},      // or, at the end, back
		{"n1:5 n2:5 n3:5", "3 15"},
		{strings.Repeat("n1:2000 n2:2000 ", 60), "120 240000"}, // too many
	} {
		var got []string
		var files []found
		for _, s := range stretches(inputOf(tt.in)) {
			got = append(got, fmt.Sprint(len(s.files), " ", s.bytes>>10))
			files = append(files, s.files...)
		}
		if g := strings.Join(got, ", "); g != tt.want || !slices.Equal(files, inputOf(tt.in)) {
			t.Errorf("%.60s: %q, want %q with all files in order", tt.in, g, tt.want)
		}
	}
}

func TestNear(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"n1:1", "n1"}, {"n1:2 n2:3", "n2"}, {"n2:2 n1:3 n2:2", "n2"}, {"s3:5 n1:4", ""}, {"~local:4", ""}, {"s3:1 n1:4", "n1"},
	} {
		var s split
		for _, f := range inputOf(tt.in) {
			s = append(s, Range{File: f.path, End: f.size})
		}
		if got := s.near(); got != tt.want {
			t.Errorf("%q is near %q, want %q", tt.in, got, tt.want)
		}
	}
	dirs := []string{"/ux/n1/mr", "/ux/n2/mr", "/s3/~any/mr"}
	for _, tt := range []struct {
		sizes [3]int64
		want  string
	}{{[3]int64{}, ""}, {[3]int64{3, 2, 0}, "n1"}, {[3]int64{2, 2, 0}, ""}, {[3]int64{0, 2, 3}, ""}} {
		var runs []mapRuns
		for d, n := range tt.sizes {
			runs = append(runs, mapRuns{Dir: d, Sizes: []int64{n, n}})
		}
		if got := mostRuns(dirs, runs); got != tt.want {
			t.Errorf("runs of %v bytes are near %q, want %q", tt.sizes, got, tt.want)
		}
	}
}

// Tasks that begin together begin so that each node has one first.
func TestTasksTakeTurns(t *testing.T) {
	var list []tasks.Task
	for i, f := range inputOf("n1:1 n1:1 n1:1 n2:1 n2:1 n3:1") {
		b, err := json.Marshal(split{{File: f.path, End: f.size}})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, tasks.Task{ID: fmt.Sprint(i), Payload: b})
	}
	var got []string
	for _, t := range takeTurns(list, func(t tasks.Task) string { return splitOf(t).near() }) {
		got = append(got, t.ID)
	}
	if g := strings.Join(got, " "); g != "0 3 5 1 4 2" {
		t.Errorf("in the order %s", g)
	}
}
