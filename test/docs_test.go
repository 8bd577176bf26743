package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/FAULTS.md has every row, and names tests that there are or says that there
// is none.
func TestFaultsPageIsTrue(t *testing.T) {
	rows := rowsOf(t, "FAULTS.md")
	for n := 1; n <= 38; n++ {
		row := rows[fmt.Sprintf("F%d", n)]
		if !strings.Contains(row, "`Test") && !strings.Contains(row, "Schedule") && !strings.Contains(row, "no test") {
			t.Errorf("F%d names no test and does not say so: %q", n, row)
		}
	}
}

// docs/PROBES.md has a row for each that there is, here or in a user's doctor, and
// every row names a test. Those of its number are all on it, so that none is
// dropped without a word.
func TestProbesPageIsTrue(t *testing.T) {
	rows := rowsOf(t, "PROBES.md")
	if len(rows) < 75 {
		t.Errorf("%d rows", len(rows))
	}
	for id, row := range rows {
		if !strings.Contains(row, "`Test") {
			t.Errorf("%s names no test: %q", id, row)
		}
	}
	number := regexp.MustCompile(`^[SPNR]\d+$`)
	for name := range testsOf(t) {
		if !strings.HasPrefix(name, "TestPROBES_") {
			continue
		}
		for _, part := range strings.Split(name, "_")[1:] {
			if number.MatchString(part) && !strings.Contains(rows[part], "`"+name+"`") {
				t.Errorf("%s is not on row %s", name, part)
			}
		}
	}
	source, err := filepath.Glob("../roles/doctor/attack/*.go")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, path := range source {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\{id: "([SPNR]\d+)", title: "[^"]*", (\w+)`).FindAllSubmatch(b, -1) {
			tried++
			if row := rows[string(m[1])]; strings.Contains(row, "•") != (string(m[2]) == "check") {
				t.Errorf("doctor --attack's %s (%s) and its row do not agree: %q", m[1], m[2], row)
			}
		}
	}
	if tried < 60 {
		t.Errorf("%d rows of doctor --attack were found", tried)
	}
}

// Every test that a page names is there; a name that ends in _ stands for all that
// begin with it.
func TestPagesNameTestsThatThereAre(t *testing.T) {
	tests := testsOf(t)
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	name := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	for _, page := range append(pages, "../README.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range slices.Compact(name.FindAllString(string(b), -1)) {
			found := tests[m]
			if strings.HasSuffix(m, "_") {
				for name := range tests {
					found = found || strings.HasPrefix(name, m)
				}
			}
			if !found {
				t.Errorf("%s names %s, and there is none", page, m)
			}
		}
	}
}

// rowsOf is the lines of a page's tables, by what they begin with.
func rowsOf(t *testing.T, page string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		if m := regexp.MustCompile(`^\| ([FSPNR]\d+) (?:• )?\|`).FindStringSubmatch(line); m != nil {
			if rows[m[1]] != "" {
				t.Errorf("%s: there are two rows %s", page, m[1])
			}
			rows[m[1]] = line
		}
	}
	return rows
}

// testsOf is the names of all tests, of every package.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	begin := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range begin.FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
