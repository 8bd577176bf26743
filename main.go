// Sigmad is the node agent of σOS and, under the name sigmactl, its
// command-line client.
package main

import (
	"os"
	"path/filepath"

	"sigmaos/naming/db/sqlite"
	"sigmaos/naming/s3/direct"
	"sigmaos/roles/trial"
	"sigmaos/runtime/binfs"
)

// version is set by the build.
var version = "unversioned"

func main() {
	switch filepath.Base(os.Args[0]) {
	case "sigmad-binfs": // sigmad starts itself under this name to serve FUSE
		os.Exit(binfs.Main())
	case sqlite.ProcessName: // and under this one to serve a realm's SQLite
		os.Exit(sqlite.Main())
	case direct.ProcessName: // and benches under this one, to use a store without σOS
		os.Exit(direct.Main())
	case trial.ProcessName: // bench starts it under this one, three times
		os.Exit(trial.Main())
	case "sigmactl":
		os.Exit(sigmactl(os.Args[1:]))
	default:
		os.Exit(sigmad(os.Args[1:]))
	}
}
