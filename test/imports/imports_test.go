// Package imports holds the direction of imports: each folder may use those
// below it, never those beside or above.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// level of each top-level folder; the higher may import the lower. Folders of
// one level meet only above them.
var level = map[string]int{
	"": 5, "test": 5, "roles": 4, "ctl": 4, "bench": 4, "runtime": 3, "naming": 3, "sched": 3, "net": 2, "sigma": 1, "apps": 4, "api": 0, "internal": 0,
}

// light are packages that sigma, and so every proc, is built on: they may see
// api alone, whatever folder they are in.
var light = map[string]bool{"sigmaos/naming/tree": true, "sigmaos/naming/ninep": true, "sigmaos/naming/memfs": true, "sigmaos/naming/resolve": true, "sigmaos/naming/resolve/over9p": true, "sigmaos/net/rpc": true, "sigmaos/net/fdpass": true}

// only lists what these folders may see beside the standard library.
var only = map[string][]string{
	"ctl":   {"sigmaos/sigma", "sigmaos/api", "github.com/spf13/"},
	"apps":  {"sigmaos/sigma", "sigmaos/api", "golang.org/x/sys/"},
	"sigma": {"sigmaos/api", "sigmaos/sigma", "golang.org/x/sys/", "sigmaos/naming/tree", "sigmaos/naming/ninep", "sigmaos/naming/memfs", "sigmaos/naming/resolve", "sigmaos/net/rpc", "sigmaos/net/fdpass"},
	"api":   {"sigmaos/api"},
}

// also lists what one package may see beyond its folder.
var also = map[string][]string{
	"sigmaos/apps/grpchealth": {"google.golang.org/grpc"}, // the example of gRPC between procs
	"sigmaos/apps/pgtest":     {"github.com/jackc/pgx"},   // PostgreSQL's own client, in a proc
	"sigmaos/apps/img":        {"sigmaos/apps/img/scale"},
	"sigmaos/apps/img/scale":  {"golang.org/x/image/"}, // decoders and resampling
}

// alone names the folders that may import a library.
var alone = map[string][]string{
	"go.etcd.io/":               {"naming/named", "roles"},
	"github.com/hanwen/go-fuse": {"runtime/binfs", "naming/fusemount"}, // what the node serves to slots, and what a person mounts
	"modernc.org/sqlite":        {"naming/db/sqlite"},
	"github.com/jackc/":         {"naming/db/postgres", "apps/pgtest"},
	"github.com/aws/":           {"naming/s3"},
	"github.com/hashicorp/":     {"net/gossip"},
	"github.com/prometheus/":    {"roles"},
}

func top(pkg string) string {
	p := strings.TrimPrefix(strings.TrimPrefix(pkg, "sigmaos"), "/")
	if i := strings.IndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return p
}

// wrong lists the edges that point the wrong way.
func wrong(graph map[string][]string) (out []string) {
	for from, imports := range graph {
		f := top(from)
		for _, to := range imports {
			ours := to == "sigmaos" || strings.HasPrefix(to, "sigmaos/")
			if list := only[f]; list != nil && (ours || strings.Contains(strings.SplitN(to, "/", 2)[0], ".")) {
				ok := false
				for _, p := range slices.Concat(list, also[from]) {
					ok = ok || strings.HasPrefix(to, p)
				}
				if !ok {
					out = append(out, from+" → "+to)
				}
			}
			for lib, homes := range alone {
				if !strings.HasPrefix(to, lib) {
					continue
				}
				ok := false
				for _, h := range homes {
					ok = ok || strings.HasPrefix(from, "sigmaos/"+h)
				}
				if !ok {
					out = append(out, from+" → "+to)
				}
			}
			if light[from] && ours && !light[to] && top(to) != "api" {
				out = append(out, from+" → "+to)
			}
			if t := top(to); ours && t != f && !light[to] {
				lf, known := level[f]
				lt, known2 := level[t]
				if !known || !known2 || lt >= lf {
					out = append(out, from+" → "+to)
				}
			}
		}
	}
	return out
}

func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "sigmaos/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	graph := make(map[string][]string)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		graph[p.ImportPath] = p.Imports
	}
	if len(graph) < 15 {
		t.Fatalf("only %d packages are listed", len(graph))
	}
	for _, e := range wrong(graph) {
		t.Error(e)
	}
}

func TestWrongEdgesAreFound(t *testing.T) {
	for _, e := range [][2]string{
		{"sigmaos/api", "sigmaos/sigma"}, {"sigmaos/sched/be", "sigmaos/runtime/slot"}, {"sigmaos/ctl", "sigmaos/roles"}, {"sigmaos/ctl", "sigmaos/runtime/binfs"},
		{"sigmaos/net/control", "go.etcd.io/etcd/client/v3"}, {"sigmaos/sigma", "google.golang.org/grpc"}, {"sigmaos/apps/hello/go", "sigmaos/net/control"},
		{"sigmaos/apps/echo", "google.golang.org/grpc"}, {"sigmaos/roles", "github.com/aws/aws-sdk-go-v2/service/s3"},
	} {
		if len(wrong(map[string][]string{e[0]: {e[1]}})) == 0 {
			t.Errorf("%s → %s is not found", e[0], e[1])
		}
	}
	if w := wrong(map[string][]string{"sigmaos/roles": {"sigmaos/runtime/slot", "sigmaos/api"}, "sigmaos/apps/x": {"sigmaos/sigma"}}); len(w) != 0 {
		t.Errorf("good edges are refused: %v", w)
	}
}
