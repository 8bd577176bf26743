package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) backup() *cobra.Command {
	c := &cobra.Command{Use: "backup FILE", Short: "Write realms, names and registered procs into a file", Args: cobra.ExactArgs(1), Example: "  sigmactl backup /backup/sigma-monday",
		Long: `backup writes what is in etcd of the realms: their records and settings, their
name spaces (files of named), and the registered procs; all as it was at one
moment, with a checksum. Programs, output, scratch (/ux) and objects are not in it.
The file holds what tenants wrote and realms' secrets; its owner alone can read it.`}
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, args []string) (err error) {
		f, err := os.CreateTemp(filepath.Dir(args[0]), ".backup-*")
		if err != nil {
			return api.E(api.Unavailable, "backup", args[0], "cannot write there: %v", errors.Unwrap(err))
		}
		defer os.Remove(f.Name())
		defer f.Close()
		info, err := cl.Backup(ctx, f)
		if err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := os.Rename(f.Name(), args[0]); err != nil {
			return err
		}
		return a.print(info, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "wrote %s: %d keys, %s\n", args[0], info.Keys, sizeText(info.Bytes))
			return err
		})
	})
	return a.data(c, false)
}

func (a *app) restore() *cobra.Command {
	var replace bool
	c := &cobra.Command{Use: "restore FILE [--replace]", Short: "Bring back what backup wrote", Args: cobra.ExactArgs(1), Example: "  sigmactl restore /backup/sigma-monday",
		Long: `restore brings realms, names and registered procs back into a fresh cluster. In
one that is used it is refused unless --replace says to remove every realm there
is first, with procs and files. The file is checked as a whole before anything is
touched. Tokens of realms are the cluster's: in another cluster write new ones.`}
	c.Flags().BoolVar(&replace, "replace", false, "first remove every realm there is")
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := cl.Restore(ctx, f, replace)
		if err != nil {
			return err
		}
		return a.print(info, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "restored %d keys of cluster %s as of %s\n", info.Keys, info.Cluster, info.Time.Local().Format("2006-01-02 15:04:05"))
			return err
		})
	})
	return a.data(c, false)
}
