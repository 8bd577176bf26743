package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// realmS3 sets where a realm's buckets are. The secret comes from a file and is
// never printed.
func (a *app) realmS3() *cobra.Command {
	var r api.S3Request
	var file string
	c := &cobra.Command{Use: "set-s3 REALM", Short: "Say where a realm's buckets (/s3) are, and with which key", Args: cobra.ExactArgs(1),
		Example: "  sigmactl realm set-s3 shop --endpoint https://minio.example:9000 --access-key shop --secret-file shop.key\n  sigmactl realm set-s3 shop --region eu-central-1 --access-key AKIA… --secret-file shop.key --virtual-host\n  sigmactl realm set-s3 shop --own",
		Long: `set-s3 says which object store the realm's /s3 leads to: AWS, MinIO, Ceph or any
other that speaks S3's protocol. It takes effect at once. The key is kept in
etcd; procs use the store without ever seeing it. Without set-s3, and after
--own, a realm's buckets are in the server that the cluster brings.`}
	f := c.Flags()
	f.StringVar(&r.Endpoint, "endpoint", "", "http://HOST:PORT or https://HOST (default: AWS's of --region)")
	f.StringVar(&r.Region, "region", "", "region of the store (default us-east-1, which most stores take)")
	f.StringVar(&r.AccessKey, "access-key", "", "id of the realm's key")
	f.StringVar(&file, "secret-file", "", "file with the key's secret; - is standard input")
	f.BoolVar(&r.Virtual, "virtual-host", false, "the store has buckets in host names (BUCKET.HOST), not in paths")
	f.StringVar(&r.Prefix, "prefix", "", "what the names of the realm's buckets begin with in the store; procs do not see it, nor any other bucket")
	f.BoolVar(&r.Own, "own", false, "back to the server that the cluster brings")
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, args []string) error {
		r.Realm = args[0]
		if !r.Own {
			if r.AccessKey == "" || file == "" {
				return usage("--access-key K and --secret-file F: the realm's key (or --own)")
			}
			secret, err := readSecret(file)
			if err != nil {
				return err
			}
			r.Secret = secret
		}
		var i api.S3Info
		if err := cl.Call(ctx, api.MRealmS3, r, &i); err != nil {
			return err
		}
		return a.print(i, func(w io.Writer) error {
			if i.Problem != "" {
				fmt.Fprintf(a.err, "warning: it is set, but does not work yet: %s\n", i.Problem)
			}
			where := i.Endpoint
			switch {
			case i.Own:
				where = "in the cluster's own server"
			case where == "":
				where = "at AWS, region " + i.Region
			default:
				where = "at " + where
			}
			_, err := fmt.Fprintf(w, "the buckets of realm %s are %s\n", i.Realm, where)
			return err
		})
	})
	return a.data(c, false)
}

// readSecret reads a short secret from a file.
func readSecret(file string) (string, error) {
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}
