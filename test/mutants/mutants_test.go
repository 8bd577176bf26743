package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the module's.
const root = "../.."

// Every piece that is replaced is there once, and every test is where it is said
// to be.
func TestMutantsFit(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range Table {
		if names[m.Name] {
			t.Errorf("%q: there are two", m.Name)
		}
		names[m.Name] = true
		b, err := os.ReadFile(filepath.Join(root, m.File))
		if err != nil {
			t.Errorf("%q: %v", m.Name, err)
			continue
		}
		if n := strings.Count(string(b), m.Old); n != 1 || m.Old == m.New {
			t.Errorf("%q: %q is %d times in %s, want once", m.Name, m.Old, n, m.File)
		}
		if !hasTest(t, m) {
			t.Errorf("%q: there is no %s in %s", m.Name, m.Test, m.In)
		}
	}
}

func hasTest(t *testing.T, m Mutant) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, m.In, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "func "+m.Test+"(") {
			return true
		}
	}
	return false
}

// Each defect is found: its test fails, and not because nothing could be built;
// without the defect it passes. SIGMA_MUTANTS is an expression for
// the names of those to try.
func TestMutantsAreFound(t *testing.T) {
	only := os.Getenv("SIGMA_MUTANTS")
	if only == "" && os.Getenv("SIGMA_LONG") == "" {
		t.Skip("builds parts of the system again and again: make test-mutants or make test-long")
	}
	rule, err := regexp.Compile(only)
	if err != nil {
		t.Fatal(err)
	}
	sound := make(map[string]bool) // tests that were seen to pass
	for _, m := range Table {
		if !rule.MatchString(m.Name) {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			if m.Nodes && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			key := m.In + "." + m.Test
			if !sound[key] {
				if out, err := try(t, m, nil); err != nil {
					t.Fatalf("%s does not pass as it is: %v\n%s", m.Test, err, out)
				}
				sound[key] = true
			}
			out, err := try(t, m, []string{"-overlay", overlay(t, m)})
			if err == nil || !strings.Contains(out, "--- FAIL: "+m.Test) || strings.Contains(out, "test timed out") {
				t.Errorf("%s does not find it: %v\n%s", m.Test, err, out)
			}
		})
	}
}

// overlay is a file that tells the compiler of the defect.
func overlay(t *testing.T, m Mutant) string {
	t.Helper()
	dir := t.TempDir()
	file, err := filepath.Abs(filepath.Join(root, m.File))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), m.Old) {
		t.Fatalf("%s has no %q any more", m.File, m.Old)
	}
	mutant := filepath.Join(dir, filepath.Base(m.File))
	list := filepath.Join(dir, "overlay.json")
	say, err := json.Marshal(map[string]map[string]string{"Replace": {file: mutant}})
	if err == nil {
		err = os.WriteFile(list, say, 0o600)
	}
	if err == nil {
		err = os.WriteFile(mutant, []byte(strings.Replace(string(b), m.Old, m.New, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// try runs m's test, built with the flags, and where it starts nodes theirs too.
func try(t *testing.T, m Mutant, flags []string) (string, error) {
	t.Helper()
	env := os.Environ()
	if m.Nodes {
		dir := t.TempDir()
		if out, err := command(env, append([]string{"build"}, append(flags, "-o", filepath.Join(dir, "sigmad"), ".")...)...); err != nil {
			t.Fatalf("building sigmad: %v\n%s", err, out)
		}
		bin, err := filepath.Abs(filepath.Join(root, "bin"))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range [][2]string{{"sigmad", "sigmactl"}, {filepath.Join(bin, "procs"), "procs"}, {filepath.Join(bin, "versitygw"), "versitygw"}} {
			if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
				t.Fatal(err)
			}
		}
		env = append(env, "SIGMA_BIN="+dir)
	}
	args := append(append([]string{"test"}, flags...), "-count", "1", "-timeout", "4m", "-run", fmt.Sprintf("^%s$", m.Test), "./"+m.In)
	if m.Flag != "" {
		args = append(args, m.Flag)
	}
	return command(env, args...)
}

// command runs go at the module's root.
func command(env []string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = root, env
	out, err := cmd.CombinedOutput()
	return string(out), err
}
