// Mrcheck counts the words of files on this machine, one after the other in one
// goroutine, and compares the counts with the output of a job. It shares no code
// with the job. It is no proc: it reaches the cluster as sigmactl does.
//
//	mrcheck --out /ux/n1/out [--top N] FILE|DIR …
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigmaos/sigma/admin"
)

func main() {
	out := flag.String("out", "", "directory of the realm with the job's output")
	top := flag.Int("top", 0, "show so many of the most frequent words")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: mrcheck --out DIR [--top N] FILE|DIR …")
		os.Exit(2)
	}
	if err := check(context.Background(), *out, *top, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mrcheck:", err)
		os.Exit(1)
	}
}

func check(ctx context.Context, out string, top int, paths []string) error {
	begin := time.Now()
	want, err := count(paths)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	c, err := admin.Connect(ctx, admin.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	got, parts, err := output(ctx, c, out)
	if err != nil {
		return err
	}
	if err := compare(want, got); err != nil {
		return err
	}
	total := 0
	words := make([]string, 0, len(want))
	for w, n := range want {
		total += n
		words = append(words, w)
	}
	slices.SortFunc(words, func(a, b string) int {
		if want[a] != want[b] {
			return want[b] - want[a]
		}
		return strings.Compare(a, b)
	})
	for i, w := range words[:min(top, len(words))] {
		fmt.Printf("%3d  %-12s %9d\n", i+1, w, want[w])
	}
	fmt.Printf("the sequential count took %.2f s\n", took.Seconds())
	fmt.Printf("verified: %d words, %d different ones, in %d parts, as the sequential count has them\n", total, len(words), parts)
	return nil
}

// count counts words as people who know wc's definition would by hand.
func count(paths []string) (map[string]int, error) {
	words := make(map[string]int)
	for _, p := range paths {
		err := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, w := range strings.FieldsFunc(asBytes(b), func(r rune) bool {
				return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r >= 0x80)
			}) {
				words[lower(w)]++
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return words, nil
}

// asBytes has a rune for each byte, so that no encoding is needed to cut it.
func asBytes(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// lower is the word's bytes, with small ASCII letters.
func lower(w string) string {
	b := make([]byte, 0, len(w))
	for _, r := range w {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		b = append(b, byte(r))
	}
	return string(b)
}

// output reads what the job made: every part sorted, every word in one part.
func output(ctx context.Context, c *admin.Client, dir string) (words map[string]int, parts int, err error) {
	words = make(map[string]int)
	list, err := c.Names().ReadDir(ctx, dir, "", 0)
	if err != nil {
		return nil, 0, err
	}
	for _, i := range list {
		if !strings.HasPrefix(i.Name(), "part-") {
			return nil, 0, fmt.Errorf("%s has %s in it, which is no part of an output", dir, i.Name())
		}
		f, err := c.Names().Open(ctx, dir+"/"+i.Name())
		if err != nil {
			return nil, 0, err
		}
		defer f.Close()
		parts++
		last := ""
		s := bufio.NewScanner(bufio.NewReaderSize(f, 1<<20))
		s.Buffer(nil, 8<<20)
		for s.Scan() {
			w, n, _ := strings.Cut(s.Text(), "\t")
			count, err := strconv.Atoi(n)
			if _, twice := words[w]; err != nil || twice || w <= last {
				return nil, 0, fmt.Errorf("%s: the line %q is damaged, twice there or not in order", i.Name(), s.Text())
			}
			words[w], last = count, w
		}
		if err := s.Err(); err != nil {
			return nil, 0, err
		}
	}
	return words, parts, nil
}

func compare(want, got map[string]int) error {
	for w, n := range want {
		if got[w] != n {
			return fmt.Errorf("not verified: %q is there %d times, the job counted %d", w, n, got[w])
		}
	}
	for w, n := range got {
		if want[w] == 0 {
			return fmt.Errorf("not verified: the job counted %q %d times; it is nowhere", w, n)
		}
	}
	return nil
}
