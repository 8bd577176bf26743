package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"sigmaos/api"
)

// mount9P: the kernel's own client mounts the realm, and what is written on one
// side is read on the other.
func (g *guest) mount9P() (string, error) {
	serve := exec.Command("sigmactl", "9p-serve", "127.0.0.1:5640")
	serve.Env = append(os.Environ(), "SIGMA_CONTEXT="+socket)
	if err := serve.Start(); err != nil {
		return "", err
	}
	defer func() { serve.Process.Signal(syscall.SIGTERM); serve.Wait() }()
	const dir = "/mnt/realm"
	os.MkdirAll(dir, 0o755)
	var err error
	for range 100 {
		if _, err = run(20*time.Second, "mount", "-t", "9p", "-o", "trans=tcp,port=5640,version=9p2000.L,access=any", "127.0.0.1", dir); err == nil {
			break
		}
		time.Sleep(300 * time.Millisecond)
	}
	if err != nil {
		return "", err
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	// On so slow a machine the root of names may get another leader meanwhile, which
	// answers EHOSTDOWN: then once more.
	for try := range 4 {
		if err = g.bothWays(dir, fmt.Sprintf("/d%d", try)); !errors.Is(err, syscall.EHOSTDOWN) && api.KindOf(err) != api.Unavailable {
			break
		}
		time.Sleep(3 * time.Second)
	}
	return "files, links, rename, /ux, both ways", err
}

// bothWays writes on one side what it reads on the other: below dir the kernel has
// the realm, and name is a directory for it.
func (g *guest) bothWays(dir, name string) error {
	d := dir + name
	if err := os.Mkdir(d, 0o755); err != nil {
		return err
	}
	text := strings.Repeat("what the kernel wrote\n", 10_000)
	if err := os.WriteFile(d+"/a", []byte(text), 0o644); err != nil {
		return err
	}
	b, _, err := g.admin.Names().GetFile(context.Background(), name+"/a")
	if err != nil {
		return err
	}
	if string(b) != text {
		return fmt.Errorf("σ reads %d bytes, the kernel wrote %d", len(b), len(text))
	}
	if _, err := g.admin.Names().PutFile(context.Background(), name+"/b", []byte("other way")); err != nil {
		return err
	}
	if got, err := os.ReadFile(d + "/b"); err != nil || string(got) != "other way" {
		return fmt.Errorf("the kernel reads %q: %w", got, err)
	}
	if err := os.Rename(d+"/a", d+"/c"); err != nil {
		return err
	}
	if err := os.Symlink("c", d+"/l"); err != nil {
		return err
	}
	if got, err := os.ReadFile(d + "/l"); err != nil || string(got) != text {
		return fmt.Errorf("through a link %d bytes: %w", len(got), err)
	}
	list, err := os.ReadDir(d)
	if err != nil || len(list) != 3 {
		return fmt.Errorf("listing %v: %w", list, err)
	}
	if err := os.Remove(d); !errors.Is(err, syscall.ENOTEMPTY) {
		return fmt.Errorf("removing a full directory: %w", err)
	}
	ux, err := os.ReadDir(dir + "/ux")
	if err != nil || len(ux) != 1 {
		return fmt.Errorf("/ux has %v: %w", ux, err)
	}
	local := dir + "/ux/" + ux[0].Name() + "/f"
	if err := os.WriteFile(local, []byte(text), 0o644); err != nil {
		return fmt.Errorf("through an endpoint link: %w", err)
	}
	if b, err := os.ReadFile(local); err != nil || string(b) != text {
		return fmt.Errorf("through an endpoint link %d bytes: %w", len(b), err)
	}
	for _, f := range []string{local, d + "/b", d + "/c", d + "/l", d} {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

// attack: `doctor --attack` on this kernel; the rows that got through are the
// error.
func (g *guest) attack() (string, error) {
	out, err := run(8*time.Minute, "sigmactl", "doctor", "--attack", "-o", "json", "--patience", "4m")
	var r api.AttackReport
	if e := json.Unmarshal([]byte(out), &r); e != nil {
		return "", fmt.Errorf("%v: %v: %s", err, e, tail(out))
	}
	if err == nil && r.Through == 0 && r.Held > 60 {
		return fmt.Sprintf("%d rows held, none got through", r.Held), nil
	}
	var b strings.Builder
	for _, row := range r.Rows {
		if row.State == api.AttackThrough {
			fmt.Fprintf(&b, "\n      %s %s: %.600q", row.Row, row.Title, row.Findings)
		}
	}
	return "", fmt.Errorf("%d rows held, %d got through:%s", r.Held, r.Through, b.String())
}
