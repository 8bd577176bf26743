package ctl

import (
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

func (a *app) cp() *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "cp [-r] FROM TO", Short: "Copy within the realm, or between it and this machine (local:PATH)", Args: cobra.ExactArgs(2),
		Long: `cp copies what is at FROM to TO; into TO, where that is a directory. Symbolic
links below FROM stay links, permission bits stay as they are. What is no file, no
directory and no link is left out.`,
		Example: "  sigmactl cp -r local:./corpus /ux/~local/corpus\n  sigmactl cp /out/result.txt local:result.txt"}
	c.Flags().BoolVarP(&all, "recursive", "r", false, "directories with what is in them")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		from, to := a.placeOf(cl, args[0]), a.placeOf(cl, args[1])
		if i, err := to.stat(ctx, to.path); err == nil && i.dir {
			to.path = to.join(to.path, from.base())
		}
		return copyTree(ctx, from, from.path, to, to.path, all)
	})
	return c
}

// place is one side of a copy: the realm, or this machine.
type place struct {
	n    *sigma.Names // nil: this machine
	path string
}

type entry struct {
	name string
	dir  bool
	perm os.FileMode
	link string // of a symbolic link: where it leads
	skip bool   // neither file nor directory nor link
}

func (a *app) placeOf(cl *admin.Client, arg string) place {
	if p, ok := strings.CutPrefix(arg, "local:"); ok {
		return place{path: p}
	}
	return place{n: cl.Names(), path: arg}
}

func (p place) base() string {
	if p.n == nil {
		return filepath.Base(p.path)
	}
	return path.Base(p.path)
}

func (p place) join(dir, name string) string {
	if p.n == nil {
		return filepath.Join(dir, name)
	}
	return path.Join(dir, name)
}

func (p place) stat(ctx context.Context, at string) (entry, error) {
	if p.n == nil {
		st, err := os.Stat(at)
		if err != nil {
			return entry{}, err
		}
		return localEntry(st), nil
	}
	i, err := p.n.Stat(ctx, at+"/")
	if api.KindOf(err) == api.NotDir || api.KindOf(err) == api.Unsupported {
		i, err = p.n.Stat(ctx, at)
	}
	if err != nil {
		return entry{}, err
	}
	return entryOf(i), nil
}

func localEntry(st os.FileInfo) entry {
	return entry{name: st.Name(), dir: st.IsDir(), perm: st.Mode().Perm(), skip: !st.IsDir() && !st.Mode().IsRegular()}
}

func entryOf(i sigma.Info) entry {
	e := entry{name: i.Name(), dir: i.IsDir(), perm: i.Mode().Perm()}
	switch {
	case i.Mode()&os.ModeSymlink != 0:
		e.link = i.Target
	case !i.IsDir() && !i.Mode().IsRegular():
		e.skip = true
	}
	return e
}

func (p place) list(ctx context.Context, at string) (out []entry, err error) {
	if p.n == nil {
		return listLocal(at)
	}
	list, err := p.n.ReadDir(ctx, at, "", 0)
	for _, i := range list {
		out = append(out, entryOf(i))
	}
	return out, err
}

func listLocal(dir string) (out []entry, err error) {
	list, err := os.ReadDir(dir)
	for _, d := range list {
		st, err := d.Info()
		if err != nil {
			return nil, err
		}
		e := localEntry(st)
		if st.Mode()&os.ModeSymlink != 0 {
			e.skip = false
			if e.link, err = os.Readlink(filepath.Join(dir, d.Name())); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return out, err
}

func (p place) open(ctx context.Context, at string) (io.ReadCloser, error) {
	if p.n == nil {
		return os.Open(at)
	}
	return p.n.Open(ctx, at)
}

func (p place) write(ctx context.Context, at string, in io.Reader, perm os.FileMode) error {
	if p.n != nil {
		return upload(ctx, p.n, in, at, perm)
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, in, make([]byte, whole)); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// mkdir makes a directory that can be filled.
func (p place) mkdir(ctx context.Context, at string, perm os.FileMode) error {
	if perm |= 0o700; p.n == nil {
		return os.MkdirAll(at, perm)
	}
	err := p.n.Mkdir(ctx, at, perm)
	if api.KindOf(err) == api.Exists {
		return nil
	}
	return err
}

func (p place) symlink(ctx context.Context, target, at string) error {
	if p.n == nil {
		return os.Symlink(target, at)
	}
	return p.n.Symlink(ctx, target, at)
}

// copyTree copies what is at one path to another. Symbolic links below it are
// copied as links.
func copyTree(ctx context.Context, from place, src string, to place, dst string, all bool) error {
	e, err := from.stat(ctx, src)
	if err != nil {
		return err
	}
	if e.dir && !all {
		return usage("%s is a directory; cp -r copies it and what is in it", src)
	}
	return copyEntry(ctx, e, from, src, to, dst)
}

func copyEntry(ctx context.Context, e entry, from place, src string, to place, dst string) error {
	switch {
	case e.skip:
		return nil
	case e.link != "":
		return to.symlink(ctx, e.link, dst)
	case !e.dir:
		in, err := from.open(ctx, src)
		if err != nil {
			return err
		}
		defer in.Close()
		return to.write(ctx, dst, in, e.perm)
	}
	list, err := from.list(ctx, src) // before dst is made, which may be below src
	if err != nil {
		return err
	}
	if err := to.mkdir(ctx, dst, e.perm); err != nil {
		return err
	}
	for _, x := range list {
		if err := copyEntry(ctx, x, from, from.join(src, x.name), to, to.join(dst, x.name)); err != nil {
			return err
		}
	}
	return nil
}
