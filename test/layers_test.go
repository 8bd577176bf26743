package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"sigmaos/api"
	"sigmaos/roles/doctor/attack"
	"sigmaos/runtime/slot"
)

// unsafeBuild builds a sigmad that can leave layers out, and the PID 1 that makes
// no namespaces. Nothing else ever builds either.
func unsafeBuild(t *testing.T) (sigmad, init string) {
	t.Helper()
	dir := t.TempDir()
	sigmad, init = filepath.Join(dir, "sigmad"), filepath.Join(dir, "init")
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler for a PID 1 without namespaces")
	}
	for _, cmd := range [][]string{
		{"go", "build", "-tags", "unsafelayers", "-o", sigmad, "sigmaos"},
		{cc, "-DNO_NAMESPACES", "-Os", "-static", "-nostdlib", "-nostartfiles", "-ffreestanding", "-fno-stack-protector", "-fcf-protection=none", "-fno-pie", "-no-pie", "-o", init, "../runtime/slot/init/init.c"},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	return sigmad, init
}

// attackWithout runs every row on a node without a layer.
func attackWithout(t *testing.T, sigmad, init, layer string) (out []attack.Result) {
	t.Helper()
	n := newNode(t, t.TempDir())
	n.bin, n.env = sigmad, []string{"SIGMA_WITHOUT=" + layer, "SIGMA_INIT=" + init}
	tidy(t, n).Start()
	ctx := context.Background()
	s, err := attack.New(ctx, n.Client("default"), attack.Options{Longer: 10 * time.Second})
	if err != nil {
		t.Fatalf("without %q: %v", layer, err)
	}
	if _, err := s.Run(ctx, func(r attack.Result) { out = append(out, r) }); err != nil {
		t.Fatalf("without %q: %v", layer, err)
	}
	if err := s.Close(ctx); err != nil {
		t.Errorf("without %q: %v", layer, err)
	}
	if !strings.Contains(n.err.String(), "LEAVES LAYERS") {
		t.Errorf("sigmad does not shout:\n%s", n.err)
	}
	if out, err := exec.Command(sigmad, "--version").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return out
}

// Rule 10 of the probes: with every layer on everything holds; without one, the
// rows that it alone holds get through, and no more than those. The table of that
// is docs/SECURITY.md's.
func TestPROBES_Rule10_WhatEachLayerCatches(t *testing.T) {
	needRoot(t)
	if !long && os.Getenv("SIGMA_LAYERS") == "" {
		t.Skip("builds a sigmad of its own: make test-probes or make test-long")
	}
	sigmad, init := unsafeBuild(t)
	layers := []string{"", slot.Seccomp, slot.LSM, slot.Namespaces}
	runs := make(map[string][]attack.Result)
	for _, l := range layers {
		runs[l] = attackWithout(t, sigmad, init, l)
	}
	through, reached := make(map[string][]string), make(map[string][]string)
	var table bytes.Buffer
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "row\twhat\tall on\tno seccomp\tno Landlock/AppArmor\tno namespaces\theld by")
	for i, base := range runs[""] {
		fmt.Fprintf(tw, "%s\t%.48s", base.Row, base.Title)
		var alone, first []string
		for _, l := range layers {
			r := runs[l][i]
			moved := changedAnswers(base, r)
			cell := r.State
			if succeeded(r) {
				reached[l] = append(reached[l], r.Row)
			}
			if r.State == api.AttackThrough {
				through[l] = append(through[l], r.Row)
				alone = append(alone, l)
				t.Logf("%s, without %q: %.300q", r.Row, l, r.Findings)
			} else if moved > 0 && r.State == api.AttackHeld {
				cell = fmt.Sprintf("held, %d otherwise", moved)
				first = append(first, l)
			}
			fmt.Fprintf(tw, "\t%s", cell)
		}
		switch {
		case base.State == api.AttackNotTried:
			fmt.Fprintf(tw, "\t%s\n", base.Elsewhere)
		case len(alone) > 0:
			fmt.Fprintf(tw, "\t%s alone\n", strings.Join(alone, ", "))
		case len(first) > 0:
			fmt.Fprintf(tw, "\t%s, then another\n", strings.Join(first, ", "))
		default:
			fmt.Fprintln(tw, "\ttwo of them, or uid, cgroup, sigmad")
		}
	}
	tw.Flush()
	t.Logf("\n%s", &table)
	if len(through[""]) > 0 {
		t.Errorf("with every layer on these got through: %v", through[""])
	}
	// The probes can tell: what a layer alone holds gets through without it.
	for layer, rows := range map[string][]string{
		slot.Seccomp:    {"S1", "S13", "S23", "S37", "S38"},
		slot.Namespaces: {"P1", "P3", "P5"},
	} {
		for _, row := range rows {
			if !slices.Contains(through[layer], row) {
				t.Errorf("%s holds without %s: the row does not see that layer", row, layer)
			}
		}
	}
	// And whatever one layer lets through, what matters is behind two. Of the flag it
	// is enough that no attempt succeeds: without namespaces a path of the host may
	// say that it is a directory.
	for _, layer := range layers {
		for _, row := range []string{"canaries", "N1", "N30", "N35"} {
			if slices.Contains(through[layer], row) {
				t.Errorf("without %q %s is not held by any other layer", layer, row)
			}
		}
		if slices.Contains(reached[layer], "flag") {
			t.Errorf("without %q a file of the host is reached", layer)
		}
	}
}

// succeeded reports whether any attempt of a row did.
func succeeded(r attack.Result) bool {
	for try, answer := range r.Answers {
		if answer >= 0 && !strings.HasSuffix(try, " end") {
			return true
		}
	}
	return false
}

// changedAnswers counts the attempts that another layer answered.
func changedAnswers(a, b attack.Result) (n int) {
	for try, r := range a.Answers {
		if got, ok := b.Answers[try]; ok && got != r && (r < 0 || got < 0) {
			n++
		}
	}
	return n
}
