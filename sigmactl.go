package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"sigmaos/api"
	"sigmaos/bench"
	"sigmaos/ctl"
	"sigmaos/roles/doctor"
	"sigmaos/roles/doctor/attack"
	"sigmaos/runtime/binfs"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

// sigmactl runs the client with the parts of the system that it may not import
// itself.
func sigmactl(args []string) int {
	return ctl.Main(args, version, ctl.Hooks{
		Digest: digest,
		Doctor: doctor.Run,
		Attack: attackCluster,
		Bench: func(ctx context.Context, name string, c *admin.Client, o ctl.BenchOptions) (ctl.BenchResult, error) {
			exe, err := os.Executable()
			if err != nil {
				return nil, err
			}
			dir := filepath.Dir(exe)
			return bench.Run(ctx, name, benchCluster{c}, bench.Options{
				Programs: filepath.Join(dir, "procs"), Log: os.Stderr, N: o.N, Seconds: o.Seconds, Corpus: o.Corpus, Load: o.Load, Bytes: o.Bytes,
				Sigmad: filepath.Join(dir, "sigmad"), Connect: connectNode,
			})
		},
		BenchNames: bench.Names(),
		Mount:      mountRealm, Serve9P: serve9P,
	})
}

// attackCluster is `doctor --attack`.
func attackCluster(ctx context.Context, c *admin.Client, patience time.Duration, each func(api.AttackRow)) (r api.AttackReport, err error) {
	s, err := attack.New(ctx, c, attack.Options{Longer: patience})
	if err != nil {
		return r, err
	}
	defer s.Close(context.WithoutCancel(ctx))
	return s.Run(ctx, func(got attack.Result) {
		if each != nil {
			each(got.AttackRow)
		}
	})
}

// digest checks a local program and names its content.
func digest(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	if !st.Mode().IsRegular() {
		return "", 0, fmt.Errorf("not a regular file")
	}
	if err := binfs.CheckELF(f, st.Size(), runtime.GOARCH); err != nil {
		return "", 0, err
	}
	t, err := binfs.Sum(f)
	return string(t.Digest()), t.Size, err
}

// benchCluster is a client as the benches want it.
type benchCluster struct{ *admin.Client }

func (b benchCluster) Sigma() *sigma.Client { return b.Client.Client }

func (b benchCluster) Upload(ctx context.Context, path string) (api.Program, error) {
	d, size, err := digest(path)
	if err != nil {
		return api.Program{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return api.Program{}, err
	}
	defer f.Close()
	p, _, err := b.Client.Upload(ctx, f, filepath.Base(path), d, size)
	return p, err
}

func (b benchCluster) Run(ctx context.Context, d *api.ProcDesc) ([]byte, api.ProcID, api.Status, error) {
	id, err := b.Spawn(ctx, d)
	if err != nil {
		return nil, "", api.Status{}, err
	}
	st, err := b.WaitExit(ctx, id)
	if err != nil {
		return nil, id, st, err
	}
	out, err := b.Output(ctx, id)
	return out, id, st, err
}

func (b benchCluster) Output(ctx context.Context, id api.ProcID) ([]byte, error) {
	var out bytes.Buffer
	err := b.Logs(ctx, api.LogQuery{Name: string(id), Stream: 1}, func(_ api.LogRecord, data []byte) error {
		out.Write(data)
		return nil
	})
	return out.Bytes(), err
}

func (b benchCluster) Endpoints(ctx context.Context) (list []api.EndpointInfo, err error) {
	return list, b.Call(ctx, api.MEndpoints, nil, &list)
}

func (b benchCluster) Nodes(ctx context.Context) (list []api.NodeInfo, err error) {
	return list, b.Call(ctx, api.MNodes, nil, &list)
}

func (b benchCluster) JoinToken(ctx context.Context) ([]byte, error) {
	var t api.TokenFile
	err := b.Call(ctx, api.MClusterTok, nil, &t)
	return t.Text, err
}

func (b benchCluster) CreateRealm(ctx context.Context, name string) error {
	_, err := b.Client.CreateRealm(ctx, api.Realm{Name: name})
	return err
}

func (b benchCluster) InRealm(ctx context.Context, name string) (bench.Cluster, io.Closer, error) {
	c, err := b.Client.InRealm(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	return benchCluster{c}, c, nil
}

// connectNode reaches a node that a bench started.
func connectNode(ctx context.Context, sock string) (bench.Cluster, io.Closer, error) {
	c, err := admin.Connect(ctx, admin.Options{Context: sock, Realm: "default"})
	if err != nil {
		return nil, nil, err
	}
	return benchCluster{c}, c, nil
}

func (b benchCluster) SetS3(ctx context.Context, q api.S3Request) (i api.S3Info, err error) {
	return i, b.Call(ctx, api.MRealmS3, q, &i)
}

func (b benchCluster) EtcdProbe(ctx context.Context, q api.EtcdProbe) (p api.EtcdProbed, err error) {
	return p, b.Call(ctx, api.MProbe, q, &p)
}
