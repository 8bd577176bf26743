package ctl

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// descFlags are the flags of run and spawn that make a descriptor.
type descFlags struct {
	class, memory, mcpu, name, domain string
	fds, threads                      int64
	env, apart, near                  []string
	group, on                         string
}

func (d *descFlags) add(f *pflag.FlagSet) {
	f.StringVar(&d.class, "class", "BE", "BE (idle CPU) or LC (reserved)")
	f.StringVar(&d.mcpu, "mcpu", "", "LC: CPU to reserve, 1000 is a core (default 1000)")
	f.StringVar(&d.memory, "memory", "64MiB", "memory limit, reserved: bytes, or with KiB, MiB, GiB")
	f.Int64Var(&d.fds, "fds", 0, "open descriptors (default 1024)")
	f.Int64Var(&d.threads, "threads", 0, "threads (default 256)")
	f.StringArrayVar(&d.env, "env", nil, "KEY=VALUE for its environment; repeats")
	f.StringVar(&d.name, "name", "", "readable part of its id (default: the program's)")
	f.StringVar(&d.domain, "domain", "", "LC: failure domain to run in")
	f.StringVar(&d.group, "group", "", "LC: no two procs of a group are in one failure domain")
	f.StringVar(&d.on, "on", "", "BE: node to run on, whatever others have room")
	f.StringSliceVar(&d.near, "near", nil, "BE: nodes on which it had better run, where those have room")
	f.StringSliceVar(&d.apart, "apart", nil, "LC: ids of procs in whose failure domains it must not be")
}

// desc checks the numbers here, where what was typed can still be shown.
func (d *descFlags) desc(args []string) (*api.ProcDesc, error) {
	out := &api.ProcDesc{Program: args[0], Args: args[1:], Env: d.env, Name: d.name, Domain: d.domain, Group: d.group, Apart: d.apart, Node: d.on, Near: d.near, FDs: d.fds, Threads: d.threads}
	if err := out.Class.UnmarshalText([]byte(d.class)); err != nil {
		return nil, usage("--class %q: must be LC or BE", d.class)
	}
	var err error
	if out.Memory, err = parseSize(d.memory); err != nil {
		return nil, usage("--memory %q: want a whole number of bytes above 0, or one with KiB, MiB or GiB", d.memory)
	}
	if d.mcpu != "" {
		n, err := strconv.ParseInt(d.mcpu, 10, 64)
		if err != nil || n <= 0 {
			return nil, usage("--mcpu %q: want a whole number above 0; 1000 is a core", d.mcpu)
		}
		out.MCPU = n
	}
	if d.fds < 0 || d.threads < 0 {
		return nil, usage("--fds and --threads cannot be negative")
	}
	return out, nil
}

// parseSize reads bytes, also as 64MiB.
func parseSize(s string) (int64, error) {
	mul := int64(1)
	for _, u := range []struct {
		suffix string
		n      int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}} {
		if t, ok := strings.CutSuffix(s, u.suffix); ok {
			s, mul = t, u.n
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && (n <= 0 || n > math.MaxInt64/mul) {
		err = strconv.ErrRange
	}
	return n * mul, err
}

// local uploads the program when it names a file here, and makes the
// descriptor run exactly that content. What begins with / and is not here is a path
// of the realm.
func (a *app) local(ctx context.Context, c *admin.Client, d *api.ProcDesc) error {
	st, err := os.Stat(d.Program)
	switch {
	case strings.HasPrefix(d.Program, "/bin/"), strings.HasPrefix(d.Program, "s1-"):
		return nil
	case errors.Is(err, fs.ErrNotExist) && (filepath.IsAbs(d.Program) || !strings.Contains(d.Program, "/")):
		return nil // a path of the realm, which says what is wrong with it
	case err != nil:
		return api.E(api.NotFound, "upload", d.Program, "%v; a program of the realm has a path that begins with / (sigmactl programs, sigmactl ls)", errors.Unwrap(err))
	case st.IsDir():
		return api.E(api.Invalid, "upload", d.Program, "a directory, not a program")
	}
	p, _, err := a.upload(ctx, c, d.Program)
	if err != nil {
		return err
	}
	if d.Name == "" {
		d.Name = p.Name
	}
	d.Program = p.Digest
	return nil
}

// upload puts a local file into the realm's /bin.
func (a *app) upload(ctx context.Context, c *admin.Client, path string) (api.Program, int64, error) {
	digest, size, err := a.hooks.Digest(path)
	if err != nil {
		return api.Program{}, 0, api.E(api.Invalid, "upload", path, "%v", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return api.Program{}, 0, err
	}
	defer f.Close()
	return c.Upload(ctx, f, filepath.Base(path), digest, size)
}

// about is an error about a digest as one about the file that was given.
func about(err error, digest, given string) error {
	e, ok := err.(*api.Error)
	if !ok || e.Subject != digest {
		return err
	}
	said := *e
	said.Subject = given
	return &said
}
