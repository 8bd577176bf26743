package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
	"sigmaos/sigma/job"
	"sigmaos/sigma/mr"
)

const corpus = "../apps/mr/corpus/small"

// smallCorpus is the part of the real text that is in the repository.
func smallCorpus(t *testing.T) map[string]string {
	t.Helper()
	list, err := os.ReadDir(corpus)
	if err != nil || len(list) < 3 {
		t.Fatalf("%d texts, %v", len(list), err)
	}
	out := make(map[string]string)
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(corpus, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// wordsOf cuts a text as wc does.
func wordsOf(text string) (out []string) {
	begin := -1
	for i := 0; i <= len(text); i++ {
		in := i < len(text) && (text[i] >= 0x80 || text[i]|0x20 >= 'a' && text[i]|0x20 <= 'z' || text[i] >= '0' && text[i] <= '9')
		switch {
		case in && begin < 0:
			begin = i
		case !in && begin >= 0:
			b := []byte(text[begin:i])
			for k, c := range b {
				if c >= 'A' && c <= 'Z' {
					b[k] = c + 'a' - 'A'
				}
			}
			out = append(out, string(b))
			begin = -1
		}
	}
	return out
}

// wcOf is the sorted output of a sequential wc.
func wcOf(texts map[string]string) string {
	count := make(map[string]int)
	for _, text := range texts {
		for _, w := range wordsOf(text) {
			count[w]++
		}
	}
	var lines []string
	for w, n := range count {
		lines = append(lines, fmt.Sprintf("%s\t%d\n", w, n))
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// mrRun runs a job to its end by sigmactl, and returns what it says.
func mrRun(t *testing.T, n *Node, args ...string) (s mr.Summary, code int) {
	t.Helper()
	out, e, code := n.Ctl(append([]string{"mr", "run", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("mr run %q: status %d, %s", args, code, e)
	}
	return s, code
}

// parts is what is in a job's output directory: it must be parts alone.
func parts(t *testing.T, n *Node, dir string) map[string]string {
	t.Helper()
	names := n.Client("default").Names()
	ctx := minute(t)
	list, err := names.ReadDir(ctx, dir, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, i := range list {
		b, _, err := names.GetFile(ctx, dir+"/"+i.Name())
		if err != nil || !strings.HasPrefix(i.Name(), "part-") {
			t.Fatalf("%s in the output: %v", i.Name(), err)
		}
		out[i.Name()] = string(b)
	}
	return out
}

// sorted are the lines of all parts.
func sorted(p map[string]string) string {
	var lines []string
	for _, text := range p {
		lines = append(lines, slices.Collect(strings.Lines(text))...)
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// assertNothingOf fails where something of a job is left beside its output and its
// state, and waits for its coordinators to end.
func assertNothingOf(t *testing.T, n *Node, s mr.Summary) {
	t.Helper()
	c := n.Client("default")
	ctx := minute(t)
	eventually(t, 10*time.Second, "coordinators end", func() (bool, string) {
		o, e, _ := n.Ctl("ps", "-o", "json")
		return !strings.Contains(o, "mr-"), o + e
	})
	init, err := c.InitList(ctx)
	if err != nil || len(init) > 0 {
		t.Errorf("still registered: %+v, %v", init, err)
	}
	eventually(t, 10*time.Second, "nothing is left of the job", func() (bool, string) {
		left, err := leftOf(c, s.Spec.Name)
		return err == nil && len(left) == 0, fmt.Sprintf("%v, %v", left, err)
	})
}

// leftOf lists what a job has left.
func leftOf(c *admin.Client, job string) (left []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := c.Names().ReadDir(ctx, "/mr/"+job, "", 0)
	for _, i := range list {
		if !slices.Contains([]string{"spec", "state", "coords"}, i.Name()) {
			left = append(left, i.Name())
		}
	}
	for _, dir := range []string{"/ux", "/s3"} {
		servers, _ := c.Names().ReadDir(ctx, dir, "", 0)
		for _, srv := range servers {
			list, _ := c.Names().ReadDir(ctx, dir+"/"+srv.Name(), "", 0)
			for _, i := range list {
				if strings.HasPrefix(i.Name(), "mr-") {
					left = append(left, dir+"/"+srv.Name()+"/"+i.Name())
				}
			}
		}
	}
	return left, err
}

// The three jobs, over ux and s3, with intermediate files in either, have the output
// of a sequential run; nothing else is left.
func TestPaper31_MapReduce(t *testing.T) {
	for _, count := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", count), func(t *testing.T) {
			nodes := StartCluster(t, count)
			n := nodes[0]
			texts := smallCorpus(t)
			mrJobs(t, n, texts)
		})
	}
}

func mrJobs(t *testing.T, n *Node, texts map[string]string) {
	putFiles(t, n, "/ux/~local/in", texts)
	putFiles(t, n, "/s3/~any/in", texts)
	abs, err := n.Client("default").Names().AbsPath(minute(t), "/ux/~local")
	if err != nil {
		t.Fatal(err)
	}
	index := make(map[string][]string)
	var found []string
	for _, name := range slices.Sorted(mapsKeys(texts)) {
		for _, w := range wordsOf(texts[name]) {
			if l := index[w]; len(l) == 0 || l[len(l)-1] != abs+"/in/"+name {
				index[w] = append(l, abs+"/in/"+name)
			}
		}
		off := 0
		for line := range strings.Lines(texts[name]) {
			if strings.Contains(line, "whale") {
				found = append(found, fmt.Sprintf("%s/in/%s:%012d\t%s\n", abs, name, off, strings.TrimSuffix(line, "\n")))
			}
			off += len(line)
		}
	}
	var lists []string
	for w, files := range index {
		lists = append(lists, w+"\t"+strings.Join(files, " ")+"\n")
	}
	sort.Strings(lists)
	sort.Strings(found)
	for i, tt := range []struct {
		want string
		args []string
	}{
		{wcOf(texts), []string{"--app", "wc", "--in", "/ux/~local/in", "--out", "/ux/~local/o0"}},
		{wcOf(texts), []string{"--app", "wc", "--in", "/ux/~local/in", "--out", "/ux/~local/o1", "--intermediate", "/s3/~any", "--split", "20000", "--reducers", "3"}},
		{wcOf(texts), []string{"--app", "wc", "--in", "/s3/~any/in", "--out", "/s3/~local/out/o2", "--reducers", "1", "--split", "100000"}},
		{strings.Join(lists, ""), []string{"--app", "index", "--in", "/ux/~local/in", "--out", "/ux/~local/o3", "--split", "50000"}},
		{strings.Join(found, ""), []string{"--app", "grep", "--in", "/ux/~local/in", "--out", "/ux/~local/o4", "--split", "30000", "--", "whale"}},
	} {
		s, code := mrRun(t, n, tt.args...)
		if code != 0 || s.State.Phase != job.Done {
			t.Fatalf("case %d: status %d, %+v", i, code, s.State)
		}
		p := parts(t, n, s.Spec.Out)
		if got := sorted(p); got != tt.want || len(tt.want) == 0 {
			t.Errorf("case %d: %d bytes of output, want %d", i, len(got), len(tt.want))
		}
		if len(p) != s.Spec.Reducers {
			t.Errorf("case %d: %d parts, want %d", i, len(p), s.Spec.Reducers)
		}
		assertNothingOf(t, n, s)
	}
}

func mapsKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

var procOf = regexp.MustCompile(`mr-map-[a-z2-7]+`)

// A job ends as it should whatever its input is, and says what is wrong with what
// it was asked.
func TestMapReduceBadInput(t *testing.T) {
	n := StartNode(t)
	tiny := make(map[string]string)
	for i := range scaled(300, 10_000) {
		tiny[fmt.Sprintf("f%05d", i)] = fmt.Sprintf("one w%d", i%100)
	}
	for name, texts := range map[string]map[string]string{
		"an empty directory":    {},
		"an empty file":         {"a": ""},
		"no newline at the end": {"a": "one two\nthree"},
		"one huge line":         {"a": strings.Repeat("word and ", scaled(500_000, 2_000_000))},
		"binary":                {"a": strings.Repeat("\x00\x01\xff \n", 10_000)},
		"invalid UTF-8":         {"a": "caf\xe9 \xc3( \xe2\x82"},
		"many tiny files":       tiny,
	} {
		t.Run(name, func(t *testing.T) {
			dir := "/ux/~local/" + strings.ReplaceAll(name, " ", "-")
			putFiles(t, n, dir+"/in", texts)
			s, code := mrRun(t, n, "--app", "wc", "--in", dir+"/in", "--out", dir+"/out")
			if got, want := sorted(parts(t, n, dir+"/out")), wcOf(texts); code != 0 || got != want {
				t.Errorf("status %d, %+v: %.100q, want %.100q", code, s.State, got, want)
			}
			assertNothingOf(t, n, s)
		})
	}
	putFiles(t, n, "/ux/~local/x/in", map[string]string{"a": "one\ntwo\nboom\n"})
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"a map that panics":    {[]string{"--program", Proc(t, "mrtest"), "--app", "panic", "--tries", "2"}, []string{"/x/in/a 0–13", "record at byte 8", "this record is too much", "main.go:", "tried 2 times"}},
		"a map that fails":     {[]string{"--program", Proc(t, "mrtest"), "--app", "fail", "--tries", "1"}, []string{"no good", "record at byte 0"}},
		"a map without memory": {[]string{"--program", Proc(t, "mrtest"), "--app", "hungry", "--tries", "1"}, []string{"oom", "/x/in/a 0–13"}},
		"no pattern":           {[]string{"--app", "grep"}, []string{"one argument"}},
		"a bad pattern":        {[]string{"--app", "grep", "--", "("}, []string{"missing closing"}},
		"no such app":          {[]string{"--app", "sort"}, []string{"wc, grep, index"}},
		"no such input":        {[]string{"--app", "wc", "--in", "/ux/~local/nothing"}, []string{"nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := "/ux/~local/x/out"
			args := append([]string{"--in", "/ux/~local/x/in", "--out", out}, tt.args...)
			if slices.Contains(tt.args, "--in") {
				args = append([]string{"--out", out}, tt.args...)
			}
			s, code := mrRun(t, n, args...)
			if code != 1 || s.State.Phase != job.Failed {
				t.Errorf("status %d, %+v", code, s.State)
			}
			for _, w := range tt.want {
				if !strings.Contains(s.State.Error, w) {
					t.Errorf("error %q, want %q in it", s.State.Error, w)
				}
			}
			assertNothingOf(t, n, s)
			if list, err := n.Client("default").Names().ReadDir(minute(t), out, "", 0); err != nil && api.KindOf(err) != api.NotFound || len(list) > 0 {
				t.Errorf("left in the output: %v, %v", list, err)
			}
			if id := procOf.FindString(s.State.Error); id != "" && strings.Contains(name, "panics") {
				o, e, code := n.Ctl("why", id)
				if code != 0 || !strings.Contains(o, "record at byte 8") || !strings.Contains(o, "map task 00000") {
					t.Errorf("why %s: %d, %s%s; want split and record", id, code, o, e)
				}
			}
		})
	}
}

// One line of a gigabyte is many records: no word of it is cut, and no proc holds
// more of it than its memory.
func TestMapReduceALineOfAGigabyte(t *testing.T) {
	n := StartNode(t)
	names := n.Client("default").Names()
	putFiles(t, n, "/ux/~local/in", map[string]string{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	f, err := names.Create(ctx, "/ux/~local/in/line")
	if err != nil {
		t.Fatal(err)
	}
	piece := []byte(strings.Repeat("seven words that are one line again ", 30_000)) // 1 MB
	pieces := scaled(100, 1000)
	for range pieces {
		if _, err := f.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, code := mrRun(t, n, "--app", "wc", "--in", "/ux/~local/in", "--out", "/ux/~local/out", "--memory", "64MiB", "--reducers", "2", "--split", "25000000")
	var want []string
	for _, w := range strings.Fields("seven words that are one line again") {
		want = append(want, fmt.Sprintf("%s\t%d\n", w, 30_000*pieces))
	}
	sort.Strings(want)
	if got := sorted(parts(t, n, "/ux/~local/out")); code != 0 || got != strings.Join(want, "") {
		t.Errorf("status %d, %+v: %q", code, s.State, got)
	}
	if s.State.Maps.Total < 4 || s.State.MapStats.RSS > 64<<20 {
		t.Errorf("%d maps, the largest of %d bytes", s.State.Maps.Total, s.State.MapStats.RSS)
	}
}

// An output directory takes one job, and another only in its place when that was
// asked for.
func TestMapReduceOutputIsOneJobs(t *testing.T) {
	n := StartNode(t)
	texts := map[string]string{"a": "one two two"}
	putFiles(t, n, "/ux/~local/in", texts)
	args := []string{"--app", "wc", "--in", "/ux/~local/in", "--out", "/ux/~local/out", "--reducers", "2"}
	for i, tt := range []struct {
		more []string
		code int
		want string
	}{{nil, 0, ""}, {nil, 1, "--overwrite"}, {[]string{"--overwrite", "--reducers", "1"}, 0, ""}} {
		s, code := mrRun(t, n, append(slices.Clone(args), tt.more...)...)
		if code != tt.code || !strings.Contains(s.State.Error, tt.want) {
			t.Errorf("run %d: status %d, %q; want %d, %q", i, code, s.State.Error, tt.code, tt.want)
		}
	}
	p := parts(t, n, "/ux/~local/out")
	if len(p) != 1 || sorted(p) != wcOf(texts) {
		t.Errorf("the output is %q", p)
	}
	names := n.Client("default").Names()
	if _, err := names.PutFile(minute(t), "/ux/~local/out2/.mr", []byte("another"), sigma.Exclusive()); api.KindOf(err) != api.NotFound {
		t.Fatal(err)
	}
	if err := names.Mkdir(context.Background(), "/ux/~local/out2", 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := names.PutFile(minute(t), "/ux/~local/out2/.mr", []byte("another"), sigma.Exclusive()); err != nil {
		t.Fatal(err)
	}
	if s, code := mrRun(t, n, "--app", "wc", "--in", "/ux/~local/in", "--out", "/ux/~local/out2"); code != 1 || !strings.Contains(s.State.Error, "another job writes there") {
		t.Errorf("an output that another job has: status %d, %q", code, s.State.Error)
	}
	if b, _, err := names.GetFile(minute(t), "/ux/~local/out2/.mr"); err != nil || string(b) != "another" {
		t.Errorf("its claim is now %q, %v", b, err)
	}
}
