package ctl

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// realmToken writes the file with which a program outside acts in a realm. The
// token itself is never printed.
func (a *app) realmToken() *cobra.Command {
	var r api.TokenRequest
	var file string
	c := &cobra.Command{Use: "token REALM --file F", Short: "Write the token file with which programs outside act in a realm", Args: cobra.ExactArgs(1),
		Example: "  sigmactl realm token shop --user ann --file ann.token\n  SIGMA_CONTEXT=ann.token sigmactl ps"}
	c.Flags().StringVar(&r.User, "user", "", "who its holder is; procs and files belong to users")
	c.Flags().DurationVar(&r.TTL, "ttl", 90*24*time.Hour, "how long it is good")
	c.Flags().StringVar(&r.Gateway, "gateway", "", "host:port at which they reach the gateway (default: this node's)")
	c.Flags().StringVar(&file, "file", "", "file to write, readable by its owner alone")
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, args []string) error {
		if file == "" {
			return usage("--file F: where the token goes")
		}
		r.Realm = args[0]
		var t api.TokenFile
		if err := cl.Call(ctx, api.MRealmToken, r, &t); err != nil {
			return err
		}
		return a.writeToken(file, t.Text, "use it with SIGMA_CONTEXT="+file+" or --context")
	})
	return c
}
