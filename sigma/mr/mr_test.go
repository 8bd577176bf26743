package mr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"sigmaos/sigma/job"
)

// words counts words that white space ends, with the counts as text.
var words = Job{
	Map: func(rec Record, emit Emit) error {
		for f := range bytes.FieldsSeq(rec.Text) {
			emit(f, []byte("1"))
		}
		return nil
	},
	Combine: func(acc, value []byte) []byte {
		a, _ := strconv.Atoi(string(acc))
		b, _ := strconv.Atoi(string(value))
		return strconv.AppendInt(nil, int64(a+b), 10)
	},
	Reduce: func(key []byte, values *Values, emit Emit) error {
		sum := 0
		for v, ok := values.Next(); ok; v, ok = values.Next() {
			n, err := strconv.Atoi(string(v))
			if err != nil {
				return err
			}
			sum += n
		}
		emit(key, strconv.AppendInt(nil, int64(sum), 10))
		return nil
	},
}

// counted is words without any of this package's code.
func counted(texts ...string) string {
	count := make(map[string]int)
	for _, t := range texts {
		for _, w := range strings.FieldsFunc(t, func(r rune) bool { return r < 0x80 && isSpace(byte(r)) }) {
			count[w]++
		}
	}
	var out []string
	for w, n := range count {
		out = append(out, fmt.Sprintf("%s\t%d\n", w, n))
	}
	sort.Strings(out)
	return strings.Join(out, "")
}

// how says how small everything is, so that small inputs take all ways.
type how struct {
	split int64
	table int
	bins  int
	fan   int
}

// runJob does a job's tasks one after the other, on disk, and returns the sorted
// lines of the output, and how many runs the maps made.
func runJob(t *testing.T, j Job, dir string, h how) (out string, runs int, err error) {
	t.Helper()
	ctx := context.Background()
	tmp := t.TempDir()
	files, err := find(ctx, disk{}, []string{dir})
	if err != nil {
		return "", 0, err
	}
	splits, err := cut(ctx, disk{}, files, evenly(h.split, 0))
	if err != nil {
		return "", 0, err
	}
	var all []runFile
	for i, s := range splits {
		name := func(k int) string { return filepath.Join(tmp, runName(job.TaskID(i), 1, k)) }
		m := &mapTask{s: disk{}, job: j, split: s, bins: h.bins, limit: h.table, name: name}
		if err := m.run(ctx); err != nil {
			return "", 0, err
		}
		for k, size := range m.runs {
			all = append(all, runFile{path: name(k), size: size, bins: h.bins, of: job.TaskID(i)})
		}
	}
	var lines []string
	for bin := range h.bins {
		for i := range all {
			all[i].bin = bin
		}
		r := &reduceTask{s: disk{}, job: j, runs: all, limit: 1 << 20, fan: h.fan, out: filepath.Join(tmp, fmt.Sprint("out", bin)),
			temp: func(i int) string { return filepath.Join(tmp, fmt.Sprintf("t%d.%d", bin, i)) }}
		if err := r.run(ctx); err != nil {
			return "", len(all), err
		}
		b, err := os.ReadFile(r.out)
		if err != nil {
			return "", len(all), err
		}
		part := strings.SplitAfter(string(b), "\n")
		if !sort.StringsAreSorted(part[:max(len(part)-1, 0)]) && j.Combine != nil {
			t.Errorf("bin %d is not in the order of keys", bin)
		}
		lines = append(lines, part...)
	}
	sort.Strings(lines)
	return strings.Join(lines, ""), len(all), nil
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// noise is words of few letters, with all kinds of white space and line lengths.
func noise(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		for range 1 + r.IntN(6) {
			b.WriteByte("abcdé\xff"[r.IntN(7)])
		}
		b.WriteString([]string{" ", " ", "\n", "\t", "  ", "\n\n", "\r\n"}[r.IntN(7)])
	}
	return b.String()
}

// Whatever the splits, tables and merges are, no word is lost, doubled or cut.
func TestCountsAreThoseOfOnePass(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	var texts []string
	for i, n := range []int{0, 1, 40, 5000, 90_000, 3} {
		text := noise(r, n)
		if n == 0 {
			text = ""
		}
		texts = append(texts, text)
		write(t, dir, fmt.Sprint("f", i), text)
	}
	want := counted(texts...)
	plainJob := words
	plainJob.Combine = nil
	for name, job := range map[string]Job{"combine": words, "all": plainJob} {
		spilled := false
		for _, h := range []how{{1 << 20, 1 << 20, 1, 0}, {1000, 1 << 20, 3, 0}, {777, 4096, 7, 4}, {400, 1 << 20, 2, 3}, {50_000, 1500, 4, 2}} {
			got, runs, err := runJob(t, job, dir, h)
			if err != nil {
				t.Fatalf("%s %+v: %v", name, h, err)
			}
			spilled = spilled || h.fan > 0 && runs > h.fan*h.fan
			if got != want {
				t.Errorf("%s %+v: %d bytes of output, want %d", name, h, len(got), len(want))
			}
		}
		if !spilled {
			t.Errorf("%s: no case had enough runs for merges in several passes", name)
		}
	}
}

func TestBadInput(t *testing.T) {
	long := strings.Repeat("word ", 3*MaxRecord/5) + "end"
	tests := map[string]struct {
		texts []string
	}{
		"nothing":                 {nil},
		"an empty file":           {[]string{""}},
		"no newline at the end":   {[]string{"a b\nc"}},
		"one huge line":           {[]string{long}},
		"a huge line amid others": {[]string{"x y\n" + long + "\nz\n"}},
		"only newlines":           {[]string{strings.Repeat("\n", 5000)}},
		"binary":                  {[]string{"\x00\x01 \xff\xfe\n\x00 \x00", strings.Repeat("\x00\n \x80", 3000)}},
		"invalid UTF-8":           {[]string{"caf\xe9 \xc3\x28 \xe2\x82 x"}},
		"a line of MaxRecord":     {[]string{strings.Repeat("ab ", MaxRecord/3) + "\nnext"}},
		"many tiny files":         {strings.Split(strings.Repeat("one two,", 1200), ",")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i, s := range tt.texts {
				write(t, dir, fmt.Sprintf("f%05d", i), s)
			}
			for _, split := range []int64{100_000, 1 << 24} {
				got, _, err := runJob(t, words, dir, how{split, 1 << 20, 3, 0})
				if want := counted(tt.texts...); err != nil || got != want {
					t.Errorf("splits of %d: %.200q, %v; want %.200q", split, got, err, want)
				}
			}
		})
	}
}

// A word over MaxRecord comes in pieces from its beginning, whatever the splits.
func TestAWordLongerThanARecord(t *testing.T) {
	dir := t.TempDir()
	word := strings.Repeat("0123456789abcdef", 5*MaxRecord/2/16)
	write(t, dir, "f", "a "+word+" b")
	var first string
	for _, split := range []int64{1 << 30, 100_000} {
		got, _, err := runJob(t, words, dir, how{split, 8 << 20, 2, 0})
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = got
		}
		n := 0
		for l := range strings.Lines(got) {
			w, _, _ := strings.Cut(l, "\t")
			n += len(w)
		}
		if n != len(word)+2 || got != first {
			t.Errorf("splits of %d: %d bytes of words, want %d; as with other splits: %v", split, n, len(word)+2, got == first)
		}
	}
}

// Lines up to MaxRecord are one record each, wherever a split would end.
func TestLinesStayWhole(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 40 {
		lines = append(lines, fmt.Sprintf("%d %s", i, strings.Repeat("x y", r.IntN(MaxRecord/3-3))))
	}
	write(t, dir, "f", strings.Join(lines, "\n"))
	files, err := find(context.Background(), disk{}, []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	splits, err := cut(context.Background(), disk{}, files, evenly(300_000, 0))
	if err != nil || len(splits) < 10 {
		t.Fatalf("%d splits, %v; want at least 10", len(splits), err)
	}
	f, err := os.Open(files[0].path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for _, s := range splits {
		for _, g := range s {
			err := newRecords().each(f, g, func(rec Record) error {
				if rec.Part {
					t.Errorf("a record of %d bytes at %d is a part", len(rec.Text), rec.Offset)
				}
				got = append(got, string(rec.Text))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if strings.Join(got, "\n") != strings.Join(lines, "\n") || len(got) != len(lines) {
		t.Errorf("%d lines, want %d, the same", len(got), len(lines))
	}
}

// Where nobody asks for a size, splits are as many as compute at a time, or more, and
// the last ones are smaller; never are they tiny or too many.
func TestSizesOfSplits(t *testing.T) {
	const mb = 1 << 20
	for _, tt := range []struct {
		total       int64
		cores       int
		first, last int64
		count       int
	}{
		{1, 3, mb, mb, 1},
		{4 * mb, 3, mb, mb, 4},
		{54 * mb, 3, 12 * mb, 6 * mb, 6},
		{18 * mb, 1, 12 * mb, 6 * mb, 2},
		{960 * mb, 3, largest, largest / 2, 31},
		{4000 * 100 * mb, 8, 100 * mb, 50 * mb, most + 4},
	} {
		want := closing(tt.total, tt.cores)
		n, last := 0, int64(0)
		for at := int64(0); at < tt.total; n++ {
			last = want(at)
			at += last
		}
		if first := want(0); n != tt.count || first/mb != tt.first/mb || last/mb != tt.last/mb {
			t.Errorf("%d MB for %d cores: %d splits of %d down to %d MB, want %d of %d to %d",
				tt.total/mb, tt.cores, n, first/mb, last/mb, tt.count, tt.first/mb, tt.last/mb)
		}
	}
}

// The values of a key come as they were emitted, split by split.
func TestValuesKeepTheirOrder(t *testing.T) {
	dir := t.TempDir()
	var text, want strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "%d\n", i)
		fmt.Fprintf(&want, "%d,", i)
	}
	write(t, dir, "f", text.String())
	job := Job{
		Map: func(rec Record, emit Emit) error { emit([]byte("k"), append(rec.Text, ',')); return nil },
		Reduce: func(key []byte, values *Values, emit Emit) error {
			var all []byte
			for v, ok := values.Next(); ok; v, ok = values.Next() {
				all = append(all, v...)
			}
			emit(all, nil)
			return nil
		},
	}
	got, runs, err := runJob(t, job, dir, how{900, 2000, 1, 3})
	if err != nil || runs < 20 || got != want.String()+"\n" {
		t.Errorf("%.80q in %d runs, %v; want 0,1,2, …", got, runs, err)
	}
}

func TestFunctionsThatFail(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "good\ngood\nbad\n")
	boom := func() { panic("boom") }
	tests := map[string]struct {
		change func(*Job)
		want   []string
	}{
		"map panics": {func(j *Job) {
			j.Map = func(rec Record, emit Emit) error {
				if string(rec.Text) == "bad" {
					boom()
				}
				return nil
			}
		}, []string{"map", "/f, record at byte 10", "boom", "mr_test.go"}},
		"map fails":          {func(j *Job) { j.Map = func(Record, Emit) error { return errors.New("no good") } }, []string{"map", "record at byte 0", "no good"}},
		"combine panics":     {func(j *Job) { j.Combine = func(a, b []byte) []byte { boom(); return a } }, []string{"combine", "record at byte 5", "boom"}},
		"reduce panics":      {func(j *Job) { j.Reduce = func([]byte, *Values, Emit) error { boom(); return nil } }, []string{"reduce", `key "bad"`, "boom"}},
		"reduce fails":       {func(j *Job) { j.Reduce = func([]byte, *Values, Emit) error { return errors.New("no good") } }, []string{"reduce", `key "bad"`, "no good"}},
		"index out of range": {func(j *Job) { j.Map = func(r Record, _ Emit) error { _ = r.Text[99]; return nil } }, []string{"index out of range", "mr_test.go"}},
		"too large": {func(j *Job) {
			j.Map = func(r Record, emit Emit) error { emit(make([]byte, maxPair+1), nil); return nil }
		}, []string{"4194305 bytes"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			job := words
			tt.change(&job)
			_, _, err := runJob(t, job, dir, how{1 << 20, 1 << 20, 1, 0})
			for _, w := range tt.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error %v, want %q in it", err, w)
				}
			}
		})
	}
}

// A run that is damaged, cut or gone is never taken for a whole one, and the error
// names the map that made it.
func TestDamagedRuns(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	in := t.TempDir()
	write(t, in, "f", noise(rand.New(rand.NewPCG(5, 6)), 20_000))
	path := filepath.Join(dir, "run")
	m := &mapTask{s: disk{}, job: words, split: split{{filepath.Join(in, "f"), 0, 20_000, true}}, bins: 2, limit: 1 << 24, name: func(int) string { return path }}
	if err := m.run(ctx); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	reduce := func() error {
		os.Remove(filepath.Join(dir, "out"))
		r := &reduceTask{s: disk{}, job: words, runs: []runFile{{path, int64(len(whole)), 2, 1, "00007"}}, limit: 1 << 20, out: filepath.Join(dir, "out")}
		return r.run(ctx)
	}
	if err := reduce(); err != nil {
		t.Fatalf("the whole one: %v", err)
	}
	damaged := 0
	for at := 0; at < len(whole); at += 1 + len(whole)/300 {
		bad := bytes.Clone(whole)
		bad[at] ^= 4
		os.WriteFile(path, bad, 0o644)
		if err := reduce(); err != nil {
			var g *gone
			if damaged++; !errors.As(err, &g) || g.of != "00007" {
				t.Errorf("byte %d: %v, want the map's name", at, err)
			}
		}
	}
	if damaged < 100 { // about a half is of the other bin
		t.Errorf("%d of 300 damages were seen", damaged)
	}
	for _, n := range []int{0, 10, len(whole) - 1} {
		os.WriteFile(path, whole[:n], 0o644)
		if err := reduce(); err == nil {
			t.Errorf("cut to %d of %d bytes it is taken for whole", n, len(whole))
		}
	}
	os.Remove(path)
	var g *gone
	if err := reduce(); !errors.As(err, &g) {
		t.Errorf("removed: %v", err)
	}
}

// One process with tables in memory makes what the tasks make.
func TestPlainIsTheSame(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	text := noise(rand.New(rand.NewPCG(7, 8)), 50_000)
	write(t, dir, "f", text)
	var stdout, stderr bytes.Buffer
	apps := []App{{Name: "w", New: func([]string) (Job, error) { return words, nil }}}
	if code := plainMain([]string{"w", "-j", "3", "-split", "999", "-o", out, "--", dir}, apps, &stdout, &stderr); code != 0 {
		t.Fatal(stderr.String())
	}
	var got []string
	for i := range defReducers {
		b, err := os.ReadFile(filepath.Join(out, partPrefix+job.TaskID(i)))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.SplitAfter(string(b), "\n")...)
	}
	sort.Strings(got)
	if want := counted(text); strings.Join(got, "") != want {
		t.Errorf("%d lines, want %d", len(got), strings.Count(want, "\n"))
	}
}
