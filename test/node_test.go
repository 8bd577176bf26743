package test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

func TestHelloInThreeLanguages(t *testing.T) {
	n := StartNode(t)
	for name, want := range map[string]string{
		"hello": "hello from Go", "hello-c": "hello from C", "hello-rust": "hello from Rust", "hello-raw": "hello from nothing at all",
	} {
		t.Run(name, func(t *testing.T) {
			out, e, code := n.Ctl("run", Proc(t, name))
			if code != 0 || !strings.HasPrefix(out, want) || e != "" {
				t.Errorf("run %s: status %d, output %q, errors %q; want output %q", name, code, out, e, want)
			}
		})
	}
}

func TestUploadSendsNothingTwice(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	ctx := context.Background()
	n.Upload("hello")
	var list []api.Program
	if err := c.Call(ctx, api.MPrograms, nil, &list); err != nil || len(list) != 1 {
		t.Fatalf("programs: %v %v", list, err)
	}
	f, err := os.Open(Proc(t, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, sent, err := c.Upload(ctx, f, "again", list[0].Digest, list[0].Size); err != nil || sent != 0 {
		t.Errorf("a known digest sent %d bytes: %v", sent, err)
	}
}

func TestPaper31_WaitStartWaitExitKill(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	ctx := context.Background()
	prog := n.Upload("testproc")
	id, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"graceful"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WaitStart(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(ctx, id, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	st, err := c.WaitExit(ctx, id)
	if err != nil || st.State != api.Exited || st.Code != 7 || string(st.Data) != "bye" {
		t.Errorf("a proc that heeds WaitKill: %+v %v", st, err)
	}
	// One that does not heed it is ended by force.
	id, _ = c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"sleep"}})
	if err := c.WaitStart(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(ctx, id, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if st, err := c.WaitExit(ctx, id); err != nil || st.State != api.Killed {
		t.Errorf("a proc that does not: %+v %v", st, err)
	}
	// A proc that ends before Started leaves no WaitStart stuck.
	id, _ = c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "3"}})
	err = c.WaitStart(ctx, id)
	if e, ok := err.(*sigma.ExitError); !ok || e.Status.Code != 3 {
		t.Errorf("waitstart of a proc that exits 3: %v", err)
	}
}

// A proc spawns children as the paper's Figure 2 does, and they outlive it.
func TestPaper31_ChildOutlivesParent(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	prog := n.Upload("testproc")
	st := n.Run(c, &api.ProcDesc{Program: prog, Args: []string{"orphan", prog}})
	if !st.OK() {
		t.Fatalf("parent: %v", st)
	}
	child := api.ProcID(st.Data)
	procs, err := c.Procs(context.Background(), api.ProcFilter{})
	if err != nil || len(procs) != 1 || procs[0].ID != child || procs[0].State == api.Queued {
		t.Errorf("after its parent's end: %+v %v, want %s alive", procs, err, child)
	}
	if err := c.Kill(context.Background(), child, 0); err != nil {
		t.Error(err)
	}
	if st, err := c.WaitExit(context.Background(), child); err != nil || st.State != api.Killed {
		t.Errorf("child: %+v %v", st, err)
	}
}

func TestBadInput(t *testing.T) {
	n := StartNode(t)
	prog := n.Upload("hello-raw")
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o755); err != nil {
			t.Fatal(err)
		}
		return p
	}
	elf, err := os.ReadFile(Proc(t, "hello-raw"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := append([]byte(nil), elf...)
	foreign[18] = 183
	bomb := append([]byte(nil), elf...)
	bomb[56], bomb[57] = 0xff, 0xff
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"missing program":    {[]string{"run", "/bin/none"}, 1, "no such program"},
		"missing file":       {[]string{"run", "./none"}, 1, "no such file"},
		"empty file":         {[]string{"run", write("empty", nil)}, 1, "empty"},
		"not ELF":            {[]string{"run", write("text", []byte("hello\n"))}, 1, "not an ELF"},
		"script":             {[]string{"run", write("script", []byte("#!/bin/sh\n"))}, 1, "script"},
		"dynamically linked": {[]string{"run", "/usr/bin/ls"}, 1, "link it statically: CGO_ENABLED=0"},
		"a directory":        {[]string{"run", dir}, 1, "directory"},
		"other architecture": {[]string{"run", write("arm", foreign)}, 1, "arm64"},
		"ELF bomb":           {[]string{"run", write("bomb", bomb)}, 1, "damaged"},
		"truncated":          {[]string{"run", write("cut", elf[:200])}, 1, "damaged"},
		"memory 0":           {[]string{"run", "--memory", "0", prog}, 2, "--memory"},
		"memory NaN":         {[]string{"run", "--memory", "NaN", prog}, 2, "--memory"},
		"memory negative":    {[]string{"run", "--memory=-1", prog}, 2, "--memory"},
		"memory absurd":      {[]string{"run", "--memory", "100000TiB", prog}, 1, "outside"},
		"more than any node": {[]string{"run", "--memory", "8TiB", prog}, 1, "never fits"},
		"the file's name":    {[]string{"run", "--memory", "8TiB", Proc(t, "hello-raw")}, 1, "spawn " + Proc(t, "hello-raw")},
		"a scratch file":     {[]string{"cat", "/ux/~local/a/none"}, 1, "/ux/~local/a/none: "},
		"a directory put":    {[]string{"put", dir, "/x"}, 1, "cp -r local:" + dir},
		"put into nothing":   {[]string{"put", Proc(t, "hello-raw"), "/no/dir/x"}, 1, "mkdir -p"},
		"no such node":       {[]string{"node", "drain", "nobody"}, 1, "no node of that name"},
		"an unknown group":   {[]string{"realm", "frob"}, 2, "say which: create"},
		"mcpu of BE":         {[]string{"run", "--mcpu", "100", prog}, 1, "only LC"},
		"mcpu NaN":           {[]string{"run", "--class", "LC", "--mcpu", "NaN", prog}, 2, "--mcpu"},
		"mcpu too many":      {[]string{"run", "--class", "LC", "--mcpu", "900000", prog}, 1, "never fits"},
		"class":              {[]string{"run", "--class", "XX", prog}, 2, "--class"},
		"env":                {[]string{"run", "--env", "novalue", prog}, 1, "KEY=VALUE"},
		"large args":         {[]string{"run", prog, strings.Repeat("x", 120<<10), strings.Repeat("y", 120<<10)}, 1, "limits"},
		"unknown realm":      {[]string{"--realm", "nowhere", "ps"}, 1, "no such realm"},
		"unknown proc":       {[]string{"wait", "nobody-aaaa"}, 1, "no such proc"},
		"unknown verb":       {[]string{"frobnicate"}, 2, "no verb"},
		"unknown flag":       {[]string{"ps", "--nope"}, 2, "unknown flag"},
		"no proc named":      {[]string{"why"}, 2, "arg"},
		"realm name":         {[]string{"realm", "create", "UPPER"}, 1, "a-z"},
		"realm twice":        {[]string{"realm", "create", "default"}, 1, "there is a realm"},
	} {
		t.Run(name, func(t *testing.T) {
			_, e, code := n.Ctl(tt.args...)
			if code != tt.code || !strings.Contains(e, tt.want) {
				t.Errorf("status %d, %q; want status %d and a text with %q", code, e, tt.code, tt.want)
			}
		})
	}
	if out, _, code := n.Ctl("run", prog); code != 0 || out == "" {
		t.Error("after all that, a good program does not run")
	}
	// What no command line can hold.
	c := n.Client("default")
	ctx := context.Background()
	for name, tt := range map[string]struct {
		d    *api.ProcDesc
		kind api.Kind
	}{
		"10 MB of args": {&api.ProcDesc{Program: prog, Args: []string{strings.Repeat("x", 10<<20)}}, api.TooLarge},
		"10 MB of env":  {&api.ProcDesc{Program: prog, Env: []string{"A=" + strings.Repeat("x", 10<<20)}}, api.TooLarge},
		"200 KB":        {&api.ProcDesc{Program: prog, Args: []string{strings.Repeat("x", 200<<10)}}, api.TooLarge},
		"20,000 args":   {&api.ProcDesc{Program: prog, Args: make([]string, 20_000)}, api.TooLarge},
		"a NUL":         {&api.ProcDesc{Program: "/bin/a\x00b"}, api.Invalid},
		"a long path":   {&api.ProcDesc{Program: strings.Repeat("/x", 5000)}, api.TooLarge},
	} {
		_, err := c.Spawn(ctx, tt.d)
		if api.KindOf(err) != tt.kind || len(err.Error()) > 500 {
			t.Errorf("%s: %.500v, want kind %q in a short text", name, err, tt.kind)
		}
	}
	// The most that fits is fine.
	d := &api.ProcDesc{Program: prog, Args: []string{"-q", strings.Repeat("x", 100<<10)}, Env: []string{"A=" + strings.Repeat("y", 20<<10)}}
	if st := n.Run(c, d); !st.OK() {
		t.Errorf("120 KiB of args and env: %v", st)
	}
}

// PROBES N30: another realm's proc and one that never was give one answer.
func TestPROBES_N30_OtherRealmsProcIsNotFound(t *testing.T) {
	n := StartNode(t)
	ctx := context.Background()
	a := n.Client("default")
	if _, err := a.CreateRealm(ctx, api.Realm{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	b := n.Client("other")
	prog := n.Upload("testproc")
	id, err := a.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"sleep"}})
	if err != nil {
		t.Fatal(err)
	}
	never := id[:len(id)-12] + "aaaaaaaaaaaa"
	text := func(err error, id api.ProcID) string {
		if err == nil {
			return "no error"
		}
		return strings.ReplaceAll(err.Error(), string(id), "ID")
	}
	for name, try := range map[string]func(id api.ProcID) error{
		"kill":      func(id api.ProcID) error { return b.Kill(ctx, id, 0) },
		"waitexit":  func(id api.ProcID) error { _, err := b.WaitExit(ctx, id); return err },
		"waitstart": func(id api.ProcID) error { return b.WaitStart(ctx, id) },
		"why":       func(id api.ProcID) error { _, err := b.Why(ctx, string(id)); return err },
	} {
		theirs, none := try(id), try(never)
		if api.KindOf(theirs) != api.NotFound || text(theirs, id) != text(none, never) {
			t.Errorf("%s: of another realm's proc %q, of none %q", name, text(theirs, id), text(none, never))
		}
	}
	if _, err := b.Spawn(ctx, &api.ProcDesc{Program: prog}); api.KindOf(err) != api.NotFound {
		t.Errorf("another realm's program: %v", err)
	}
	if procs, _ := a.Procs(ctx, api.ProcFilter{}); len(procs) != 1 {
		t.Errorf("the victim: %+v", procs)
	}
	// Removing the realm ends what is in it.
	if err := b.RemoveRealm(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	if st, err := a.WaitExit(ctx, id); err == nil && st.State != api.Killed {
		t.Errorf("after realm rm: %+v", st)
	}
}

func TestSecondSigmadOnTheSameDirectory(t *testing.T) {
	n := StartNode(t)
	out, code := n.startAndFail()
	if code != 1 || !strings.Contains(out, "another sigmad") {
		t.Errorf("status %d: %q", code, out)
	}
}

func TestEveryVerbSpeaksJSON(t *testing.T) {
	n := StartNode(t)
	id := strings.TrimSpace(func() string { o, _, _ := n.Ctl("spawn", Proc(t, "hello")); return o }())
	n.Ctl("wait", id)
	for _, args := range [][]string{
		{"ps", "-a"}, {"why", id}, {"top", "-n", "1", "--every", "20ms"}, {"realm", "ls"}, {"programs"}, {"info"}, {"doctor"}, {"wait", id}, {"realm", "create", "j"},
	} {
		out, e, _ := n.Ctl(append(args, "-o", "json")...)
		var v any
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Errorf("%v -o json: %v in %q %q", args, err, out, e)
		}
	}
	if out, _, _ := n.Ctl("spawn", "-o", "json", "/bin/hello"); !strings.HasPrefix(out, "{") {
		t.Errorf("spawn -o json: %q", out)
	}
	out, _, _ := n.Ctl("logs", id, "-o", "json")
	if !strings.Contains(out, `"stream":1`) || !strings.Contains(out, "hello from Go") {
		t.Errorf("logs -o json: %q", out)
	}
}
