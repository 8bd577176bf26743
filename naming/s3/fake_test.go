package s3_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"sigmaos/naming/s3"
	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
)

// fake starts another server of the protocol, over TCP.
func fake(t *testing.T) s3.Store {
	srv := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(srv.Close)
	return s3.Store{Endpoint: srv.URL, AccessKey: "key", Secret: "secret"}
}

// The same suite as against the real one.
func TestTreeOnGofakes3(t *testing.T) {
	st := fake(t)
	treetest.Run(t, treetest.Config{Objects: true, Skip: map[string]string{
		"ObjectsSynced": "gofakes3 wants a length for a copied part, which has no body",
	}}, func(t *testing.T) tree.FS {
		s := serve(t, st, s3.Config{})
		bucket(t, s)
		return inBucket{s.FS(), fmt.Sprintf("bucket-%d", buckets.Load())}
	})
}
