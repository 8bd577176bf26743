package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

// fileJSON is a file as -o json prints it.
type fileJSON struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"` // file, dir, symlink or endpoint
	Mode     string    `json:"mode"`
	Owner    string    `json:"owner,omitempty"`
	Size     int64     `json:"size"`
	Version  uint64    `json:"version"`
	Modified time.Time `json:"modified"`
	Target   string    `json:"target,omitempty"`
	Lease    string    `json:"lease,omitempty"`
}

func toJSON(i sigma.Info) fileJSON {
	return fileJSON{i.Name(), fileType(i), fmt.Sprintf("%03o", i.Attr.Mode&0o777), i.Owner, i.Attr.Size, i.Version, i.Modified, i.Target, i.Lease}
}

func fileType(i sigma.Info) string {
	switch m := i.Mode(); {
	case m.IsDir():
		return "dir"
	case m&os.ModeSymlink != 0:
		return "symlink"
	case m&os.ModeSocket != 0:
		return "endpoint"
	}
	return "file"
}

func (a *app) ls() *cobra.Command {
	var long bool
	c := &cobra.Command{Use: "ls [-l] [PATH]", Short: "List a directory of the realm", Args: cobra.MaximumNArgs(1), Example: "  sigmactl ls -l /ux/~local"}
	c.Flags().BoolVarP(&long, "long", "l", false, "mode, owner, size, age and where links lead")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		p := "/"
		if len(args) > 0 {
			p = args[0]
		}
		n := cl.Names()
		list, err := n.ReadDir(ctx, p, "", 0)
		if api.KindOf(err) == api.NotDir {
			var i sigma.Info
			if i, err = n.Lstat(ctx, p); err == nil {
				list = []sigma.Info{i}
			}
		}
		if err != nil {
			return err
		}
		out := []fileJSON{}
		for _, i := range list {
			out = append(out, toJSON(i))
		}
		return a.print(out, func(w io.Writer) error {
			if !long {
				for _, i := range list {
					fmt.Fprintln(w, i.Name())
				}
				return nil
			}
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			for _, i := range list {
				name := i.Name()
				if i.Target != "" {
					name += " → " + i.Target
				}
				owner := i.Owner
				if owner == "" {
					owner = "-"
				}
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", i.Mode(), owner, sizeText(i.Attr.Size), age(time.Since(i.Modified)), name)
			}
			return tw.Flush()
		})
	})
	return a.data(c, false)
}

func (a *app) cat() *cobra.Command {
	c := &cobra.Command{Use: "cat PATH…", Short: "Print files of the realm", Args: cobra.MinimumNArgs(1), Example: "  sigmactl cat /conf/motd"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		for _, p := range args {
			f, err := cl.Names().Open(ctx, p)
			if err != nil {
				return err
			}
			_, err = io.CopyBuffer(a.out, struct{ io.Reader }{f}, make([]byte, 1<<20))
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return c
}

func (a *app) put() *cobra.Command {
	c := &cobra.Command{Use: "put FILE|- PATH", Short: "Write a local file, or standard input, to a path of the realm", Args: cobra.ExactArgs(2),
		Example: "  echo hello | sigmactl put - /conf/motd\n  sigmactl put ./data.bin /ux/~local/"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		in, to := io.Reader(os.Stdin), args[1]
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			if st, err := f.Stat(); err == nil && st.IsDir() {
				return api.E(api.IsDir, "put", args[0], "it is a directory; copy it with sigmactl cp -r local:%s %s", args[0], to)
			}
			in = f
			if strings.HasSuffix(to, "/") {
				to += filepath.Base(args[0])
			}
		} else if strings.HasSuffix(to, "/") {
			return usage("PATH %s: standard input has no name; say the file's", to)
		}
		return above(upload(ctx, cl.Names(), in, to, 0o644), to)
	})
	return c
}

// above says what to do where the directory of a path that is to be made is missing.
func above(err error, path string) error {
	if api.KindOf(err) != api.NotFound || strings.Contains(path, "/~") {
		return err
	}
	return fmt.Errorf("%w; make the directories above it with sigmactl mkdir -p", err)
}

// whole is up to where a file is written in one step.
const whole = 1 << 20

// upload writes what in has: small files in one step, others piece by piece. A new
// file gets the permission bits.
func upload(ctx context.Context, n *sigma.Names, in io.Reader, to string, perm os.FileMode) error {
	buf := make([]byte, whole+1)
	k, err := io.ReadFull(in, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		_, err := n.PutFile(ctx, to, buf[:k], sigma.WithMode(perm))
		return err
	}
	if err != nil {
		return err
	}
	f, err := n.OpenFile(ctx, to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(buf[:k])
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, in, buf)
	}
	if err != nil {
		f.Abandon()
		return err
	}
	return f.Close()
}

func (a *app) mkdir() *cobra.Command {
	var parents bool
	c := &cobra.Command{Use: "mkdir [-p] PATH…", Short: "Make directories in the realm", Args: cobra.MinimumNArgs(1), Example: "  sigmactl mkdir -p /conf/app"}
	c.Flags().BoolVarP(&parents, "parents", "p", false, "those above it too; what is there is no error")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		for _, p := range args {
			do := cl.Names().Mkdir
			if parents {
				do = cl.Names().MkdirAll
			}
			if err := do(ctx, p, 0o775); err != nil {
				if !parents {
					err = above(err, p)
				}
				return err
			}
		}
		return nil
	})
	return c
}

func (a *app) rm() *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "rm [-r] PATH…", Short: "Remove files, links and directories of the realm", Args: cobra.MinimumNArgs(1), Example: "  sigmactl rm -r /tmp/job-7"}
	c.Flags().BoolVarP(&all, "recursive", "r", false, "everything below them too")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		n := cl.Names()
		for _, p := range args {
			if _, err := n.Lstat(ctx, p); err != nil {
				return err
			}
			do := n.Remove
			if all {
				do = n.RemoveAll
			}
			if err := do(ctx, p); err != nil {
				if api.KindOf(err) == api.NotEmpty {
					err = api.E(api.NotEmpty, "rm", p, "the directory is not empty; rm -r removes it and what is in it")
				}
				return err
			}
		}
		return nil
	})
	return c
}

func (a *app) stat() *cobra.Command {
	c := &cobra.Command{Use: "stat PATH", Short: "Describe what is at a path of the realm", Args: cobra.ExactArgs(1), Example: "  sigmactl stat /svc/front"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		i, err := cl.Names().Lstat(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(toJSON(i), func(w io.Writer) error {
			j := toJSON(i)
			_, err := fmt.Fprintf(w, "name      %s\ntype      %s\nmode      %s\nowner     %s\nsize      %d\nversion   %d\nmodified  %s\n", j.Name, j.Type, j.Mode, j.Owner, j.Size, j.Version, j.Modified.Format(time.RFC3339Nano))
			if j.Target != "" {
				fmt.Fprintf(w, "target    %s\n", j.Target)
			}
			if j.Lease != "" {
				fmt.Fprintf(w, "lease     %s\n", j.Lease)
			}
			return err
		})
	})
	return a.data(c, false)
}

func (a *app) watch() *cobra.Command {
	var from uint64
	c := &cobra.Command{Use: "watch [--from VERSION] PATH", Short: "Print the changes of a file or directory of the realm as they come", Args: cobra.ExactArgs(1),
		Example: "  sigmactl watch /conf"}
	c.Flags().Uint64Var(&from, "from", 0, "beginning behind this version; 0 is from now on")
	type event struct {
		Version uint64 `json:"version"`
		Kind    string `json:"kind"`
		Name    string `json:"name,omitempty"`
	}
	kinds := map[any]string{sigma.Created: "created", sigma.Changed: "changed", sigma.Removed: "removed", sigma.Renamed: "renamed"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		err := cl.Names().Watch(ctx, args[0], from, func(_ uint64, list []sigma.Event) error {
			for _, e := range list {
				if err := a.line(event{e.Version, kinds[e.Kind], e.Name}, "%d  %-8s %s\n", e.Version, kinds[e.Kind], path.Join(args[0], e.Name)); err != nil {
					return err
				}
			}
			return nil
		})
		if ctx.Err() != nil {
			return nil // interrupted
		}
		return err
	})
	return a.data(c, false)
}
