package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/FAULTS.md has every row, and names tests that there are or says that there
// is none.
func TestFaultsPageIsTrue(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "FAULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	err = filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for line := range strings.Lines(string(page)) {
		if m := regexp.MustCompile(`^\| (F\d+) \|`).FindStringSubmatch(line); m != nil {
			rows[m[1]] = line
		}
	}
	for n := 1; n <= 38; n++ {
		row := rows[fmt.Sprintf("F%d", n)]
		if !strings.Contains(row, "`Test") && !strings.Contains(row, "Schedule") && !strings.Contains(row, "no test") {
			t.Errorf("F%d names no test and does not say so: %q", n, row)
		}
	}
	for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(page), -1) {
		if !tests[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
}
