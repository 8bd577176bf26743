package attack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/sigma/admin"
)

// canaries are what an attacker must not reach.
type canaries struct {
	made    string // the flag's directory, where it is ours to remove
	flag    string
	before  os.FileInfo
	victims []victim
}

// victim is a proc that only has to stay as it is, and its endpoint.
type victim struct {
	c    *admin.Client
	info api.ProcInfo
	ep   api.Endpoint
}

const (
	flagText   = "the flag\n"
	secretName = "secret-of-the-canary" // a file in the other realm's root
)

// setOut writes the flag, which nothing but the isolation protects, and starts
// the victims.
func (s *Suite) setOut(ctx context.Context) error {
	dir, err := s.flagDir()
	if err != nil {
		return err
	}
	s.flag = filepath.Join(dir, "flag")
	if err := os.WriteFile(s.flag, []byte(flagText), 0o666); err != nil {
		return err
	}
	if err := os.Chmod(s.flag, 0o666); err != nil { // whatever the umask
		return err
	}
	if s.before, err = os.Stat(s.flag); err != nil {
		return err
	}
	for _, c := range []*admin.Client{s.c, s.other} {
		v, err := s.victim(ctx, c)
		if err != nil {
			return fmt.Errorf("attack: a victim: %w", err)
		}
		s.victims = append(s.victims, v)
	}
	if _, err := s.other.Names().PutFile(ctx, "/"+secretName, []byte(flagText)); err != nil {
		return fmt.Errorf("attack: a name of the other realm: %w", err)
	}
	return nil
}

func (s *Suite) victim(ctx context.Context, c *admin.Client) (v victim, err error) {
	d := Describe("frames", frame{name: "endpoint", kind: wire.TNewEndpoint}.arg(1), "stay")
	id, err := c.Spawn(ctx, d)
	if err != nil {
		return v, err
	}
	if err := c.WaitStart(ctx, id); err != nil {
		return v, err
	}
	said, err := s.firstLine(ctx, c, id)
	if err != nil {
		return v, err
	}
	ep, err := wire.DecodeEndpoint(said.payload())
	if _, _, _, ok := ep.Parse(); err != nil || !ok {
		return v, fmt.Errorf("%s said %q, want its endpoint", id, said.Text)
	}
	list, err := c.Procs(ctx, api.ProcFilter{}) // which tells an operator the pids
	for _, p := range list {
		if p.ID == id {
			return victim{c: c, info: p, ep: ep}, nil
		}
	}
	return v, fmt.Errorf("%s is not among the procs (%v)", id, err)
}

// firstLine waits for the first that a probe prints: it comes by another way than its
// Started, and perhaps later.
func (s *Suite) firstLine(ctx context.Context, c *admin.Client, id api.ProcID) (Attempt, error) {
	for end := time.Now().Add(s.opt.Longer); ; time.Sleep(5 * time.Millisecond) {
		said, err := Lines(ctx, c, id, false)
		switch {
		case len(said) > 0:
			return said[0], nil
		case ctx.Err() != nil:
			return Attempt{}, ctx.Err()
		case time.Now().After(end):
			return Attempt{}, errors.Join(fmt.Errorf("%s has said nothing after %v, want its endpoint", id, s.opt.Longer), err)
		}
	}
}

// Victim is the proc of the other realm.
func (s *Suite) Victim() api.ProcID { return s.victims[1].info.ID }

// Intact says what is not as it was.
func (s *Suite) Intact(ctx context.Context) (out []string) {
	b, err := os.ReadFile(s.flag)
	now, err2 := os.Stat(s.flag)
	switch {
	case err != nil || err2 != nil:
		out = append(out, fmt.Sprintf("the flag on the host: %v", err))
	case string(b) != flagText || now.Mode() != s.before.Mode() || changed(now) != changed(s.before):
		out = append(out, fmt.Sprintf("the flag on the host was touched: %q %v", b, now.Mode()))
	}
	for _, v := range s.victims {
		w, err := v.c.Why(ctx, string(v.info.ID))
		if err != nil || w.Proc.State != api.Running || w.Proc.Stamps != v.info.Stamps {
			out = append(out, fmt.Sprintf("victim %s in realm %s is %v (%v), was %v", v.info.ID, v.info.Realm, w.Proc.State, err, v.info.State))
		}
	}
	if b, err := s.secret(ctx); err != nil || string(b) != flagText {
		out = append(out, fmt.Sprintf("the name of the other realm is %q (%v)", b, err))
	}
	return out
}

// secret reads the other realm's name; a leader of names that changes meanwhile is
// waited for.
func (s *Suite) secret(ctx context.Context) (b []byte, err error) {
	for end := time.Now().Add(s.opt.Longer); ; time.Sleep(200 * time.Millisecond) {
		b, _, err = s.other.Names().GetFile(ctx, "/"+secretName)
		if api.KindOf(err) != api.Unavailable || time.Now().After(end) {
			return b, err
		}
	}
}

// changed is the inode's change time: a read of ours does not move it.
func changed(i os.FileInfo) syscall.Timespec { return i.Sys().(*syscall.Stat_t).Ctim }

func (s *Suite) takeIn() {
	if s.flag != "" {
		os.Remove(s.flag)
	}
	if s.made != "" {
		os.Remove(s.made)
	}
}
