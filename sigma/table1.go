package sigma

import (
	"context"
	"io/fs"
)

// The calls on files of the paper's Table 1, in the name space of this proc's
// realm; Self().Names() has more.

// Open opens a file for reading.
func Open(ctx context.Context, path string) (*File, error) { return self().Names().Open(ctx, path) }

// Create makes or empties a file and opens it.
func Create(ctx context.Context, path string) (*File, error) { return self().Names().Create(ctx, path) }

// OpenFile opens a file with the flags of package os.
func OpenFile(ctx context.Context, path string, flag int, perm fs.FileMode) (*File, error) {
	return self().Names().OpenFile(ctx, path, flag, perm)
}

// GetFile reads the whole of a file.
func GetFile(ctx context.Context, path string) ([]byte, Info, error) {
	return self().Names().GetFile(ctx, path)
}

// PutFile writes the whole of a file.
func PutFile(ctx context.Context, path string, data []byte, opts ...PutOption) (Info, error) {
	return self().Names().PutFile(ctx, path, data, opts...)
}

// Remove takes away a file, a link or an empty directory.
func Remove(ctx context.Context, path string) error { return self().Names().Remove(ctx, path) }

// Rename moves what is at from to to.
func Rename(ctx context.Context, from, to string) error { return self().Names().Rename(ctx, from, to) }

// Stat describes what is at path.
func Stat(ctx context.Context, path string) (Info, error) { return self().Names().Stat(ctx, path) }

// Mkdir makes a directory.
func Mkdir(ctx context.Context, path string, perm fs.FileMode) error {
	return self().Names().Mkdir(ctx, path, perm)
}

// ReadDir lists a directory.
func ReadDir(ctx context.Context, path, after string, max int) ([]Info, error) {
	return self().Names().ReadDir(ctx, path, after, max)
}

// Watch tells of changes after a version.
func Watch(ctx context.Context, path string, version uint64, fn func(at uint64, ev []Event) error) error {
	return self().Names().Watch(ctx, path, version, fn)
}

// OpenWatch tells of what is in a directory, and of its changes.
func OpenWatch(ctx context.Context, dir string, fn func(ev []Event) error) error {
	return self().Names().OpenWatch(ctx, dir, fn)
}

// AbsPath replaces ~local and ~any.
func AbsPath(ctx context.Context, path string) (string, error) {
	return self().Names().AbsPath(ctx, path)
}

// Publish makes path an endpoint link that goes with this proc. It lasts as long:
// where the proc was cut off from the realm's root for so long that the link was
// taken away, it comes back afterwards, unless another one is there.
func Publish(ctx context.Context, path string, ep Endpoint) error {
	return self().Names().published.publish(ctx, path, ep)
}

// Elect waits until this proc leads at path.
func Elect(ctx context.Context, path string, data []byte) (*Term, error) {
	return self().Names().Elect(ctx, path, data)
}
