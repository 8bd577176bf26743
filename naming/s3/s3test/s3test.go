// Package s3test gives tests a real S3 server: the one that make builds.
package s3test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"sigmaos/naming/s3"
	"sigmaos/naming/s3/local"
)

// Binary is bin/versitygw; a test that needs it is skipped where it could not be
// built.
func Binary(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	p := filepath.Join(filepath.Dir(here), "../../../bin/versitygw")
	if d := os.Getenv("SIGMA_BIN"); d != "" {
		p = filepath.Join(d, "versitygw")
	}
	if _, err := os.Stat(p); err != nil {
		t.Skip("bin/versitygw is not built (make builds it)")
	}
	return p
}

// Start runs a server in a directory of the test's.
func Start(t testing.TB) (*local.Server, s3.Store) {
	t.Helper()
	// A socket's path has at most 107 bytes.
	run, err := os.MkdirTemp("", "s3")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	s := local.New(local.Config{Binary: Binary(t), Dir: filepath.Join(run, "data"), RunDir: run, Access: "test", Secret: "test-secret-of-some-length"})
	t.Cleanup(func() { s.Close() })
	st, err := s.Use(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}
