package tasks

import (
	"context"

	"sigmaos/api"
	"sigmaos/sigma"
)

// Store is where a queue is kept: files with versions. Put replaces the version
// it is told, 0 for none, or fails with kind Conflict or Exists. Get and Put are
// called by several goroutines at once.
type Store interface {
	Mkdir(ctx context.Context, dir string) error // and what is above it; it may exist
	List(ctx context.Context, dir string) ([]string, error)
	Get(ctx context.Context, path string) (data []byte, version uint64, err error)
	Put(ctx context.Context, path string, data []byte, version uint64) (uint64, error)
}

// In keeps queues in a realm's name space.
func In(n *sigma.Names) Store { return names{n} }

type names struct{ n *sigma.Names }

func (s names) Mkdir(ctx context.Context, dir string) error { return s.n.MkdirAll(ctx, dir, 0o775) }

func (s names) List(ctx context.Context, dir string) (out []string, err error) {
	list, err := s.n.ReadDir(ctx, dir, "", 0)
	for _, i := range list {
		out = append(out, i.Name())
	}
	return out, err
}

func (s names) Get(ctx context.Context, path string) ([]byte, uint64, error) {
	b, i, err := s.n.GetFile(ctx, path)
	return b, i.Version, err
}

func (s names) Put(ctx context.Context, path string, data []byte, version uint64) (uint64, error) {
	i, err := s.n.PutFile(ctx, path, data, sigma.IfVersion(version))
	return i.Version, err
}

// taken says that another write was first.
func taken(err error) bool {
	k := api.KindOf(err)
	return k == api.Conflict || k == api.Exists
}
