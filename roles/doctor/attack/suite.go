package attack

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
	"sigmaos/sigma/admin"
)

// Options of a suite. Zero values are the defaults.
type Options struct {
	Dir    string        // for the flag on the host; a new directory of os.TempDir
	Longer time.Duration // what a row's run may take; 60 s
	Slack  time.Duration // what a busy machine may add to a second that is promised; 2 s
}

// Suite is an attack under way: two realms, the canaries, and connections to
// both realms. Its methods are for one goroutine.
type Suite struct {
	opt        Options
	operator   *admin.Client
	c, other   *admin.Client // in the attacker's realm and in the other one
	mine, them api.Realm
	digest     string // of a program that the other realm alone has
	canaries
}

// path of the probe in both realms.
const path = "/bin/probe"

// New makes the realms and sets out the canaries. c must be an operator's.
func New(ctx context.Context, c *admin.Client, o Options) (_ *Suite, err error) {
	if o.Longer == 0 {
		o.Longer = time.Minute
	}
	if o.Slack == 0 {
		o.Slack = 2 * time.Second
	}
	s := &Suite{opt: o, operator: c}
	defer func() {
		if err != nil {
			s.Close(context.WithoutCancel(ctx))
		}
	}()
	suffix := make([]byte, 4)
	rand.Read(suffix)
	for _, r := range []struct {
		name   string
		realm  *api.Realm
		client **admin.Client
	}{{"attack", &s.mine, &s.c}, {"canary", &s.them, &s.other}} {
		if *r.realm, err = c.CreateRealm(ctx, api.Realm{Name: r.name + "-" + hex.EncodeToString(suffix)}); err != nil {
			return nil, fmt.Errorf("attack: a realm for it: %w", err)
		}
		if *r.client, err = c.InRealm(ctx, r.realm.Name); err != nil {
			return nil, fmt.Errorf("attack: %w", err)
		}
		if _, err = upload(ctx, *r.client, "probe", program); err != nil {
			return nil, fmt.Errorf("attack: its program: %w", err)
		}
	}
	if s.digest, err = upload(ctx, s.other, "alone", append(bytes.Clone(program), "only here"...)); err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	return s, s.setOut(ctx)
}

func upload(ctx context.Context, c *admin.Client, name string, b []byte) (digest string, err error) {
	tree, err := binfs.Sum(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	_, _, err = c.Upload(ctx, bytes.NewReader(b), name, string(tree.Digest()), int64(len(b)))
	return string(tree.Digest()), err
}

// Close removes the realms, with all that runs in them, and the flag.
func (s *Suite) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var err error
	for _, r := range []struct {
		realm  api.Realm
		client *admin.Client
	}{{s.mine, s.c}, {s.them, s.other}} {
		if r.client != nil {
			r.client.Close()
		}
		if r.realm.ID != "" {
			if e := s.operator.RemoveRealm(ctx, r.realm.Name); err == nil {
				err = e
			}
		}
	}
	s.takeIn()
	return err
}

// Realms are the attacker's and the one that it must not reach.
func (s *Suite) Realms() (mine, other *admin.Client) { return s.c, s.other }

// Result is a row and every answer that it had, by attempt, so that two runs can
// be compared.
type Result struct {
	api.AttackRow
	Answers map[string]int64
}

// Run tries every row and the canaries; each is told as it is known.
func (s *Suite) Run(ctx context.Context, each func(Result)) (r api.AttackReport, err error) {
	info, err := s.operator.Info(ctx)
	if err != nil {
		return r, err
	}
	r.Cluster, r.Layers, r.Cgroup = info.Name, info.Layers, info.Cgroup
	add := func(got Result) {
		if each != nil {
			each(got)
		}
		switch r.Rows = append(r.Rows, got.AttackRow); got.State {
		case api.AttackHeld:
			r.Held++
		case api.AttackThrough:
			r.Through++
		}
	}
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		add(s.try(ctx, row))
	}
	got := Result{AttackRow: api.AttackRow{Row: "canaries", Title: "flag on the host, procs of both realms", State: api.AttackHeld, Attempts: 3}}
	if got.Findings = s.Intact(ctx); len(got.Findings) > 0 {
		got.State = api.AttackThrough
	}
	add(got)
	return r, nil
}

// Try runs one row of the table.
func (s *Suite) Try(ctx context.Context, id string) Result {
	for _, row := range rows {
		if row.id == id {
			return s.try(ctx, row)
		}
	}
	return Result{AttackRow: api.AttackRow{Row: id, State: api.AttackThrough, Findings: []string{"there is no such row"}}}
}

func (s *Suite) try(ctx context.Context, row row) Result {
	r := Result{AttackRow: api.AttackRow{Row: row.id, Title: row.title, State: api.AttackHeld}, Answers: make(map[string]int64)}
	if row.check == nil || row.arch != "" && row.arch != arch {
		r.State, r.Elsewhere = api.AttackNotTried, row.elsewhere
		return r
	}
	c := &check{ctx: ctx, s: s, result: &r}
	func() {
		defer c.recover()
		row.check(c)
	}()
	if len(r.Findings) > 0 {
		r.State = api.AttackThrough
	}
	return r
}

// flagDir makes the directory of the flag.
func (s *Suite) flagDir() (string, error) {
	if s.opt.Dir != "" {
		return s.opt.Dir, nil
	}
	dir, err := os.MkdirTemp("", "sigma-attack")
	if err != nil {
		return "", err
	}
	s.made = dir
	return filepath.Clean(dir), os.Chmod(dir, 0o777)
}
