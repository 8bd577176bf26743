package pki

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"sigmaos/api"
)

// WriteToken writes a token into a file that only its owner can read.
func WriteToken(path string, t Token) error {
	if t.IsZero() {
		return api.E(api.Invalid, "write token", path, "there is no token to write")
	}
	return writePrivate(path, []byte(t.Text()+"\n"))
}

// ReadToken reads a token's file. One that others can read is refused: the
// token in it is no secret any more.
func ReadToken(path string) (Token, error) {
	b, err := readPrivate(path)
	if err != nil {
		return Token{}, err
	}
	t, err := ParseToken(string(b))
	if err != nil {
		return Token{}, api.E(api.Invalid, "read token", path, "%s", api.AsError("", err).Text)
	}
	return t, nil
}

// readPrivate reads a small regular file that nobody but its owner can touch.
func readPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hang us
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.E(api.NotFound, "read", path, "no such file")
	}
	if err != nil {
		return nil, api.E(api.Unavailable, "read", path, "%v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, api.E(api.Unavailable, "read", path, "%v", err)
	case !info.Mode().IsRegular():
		return nil, api.E(api.Invalid, "read", path, "it is no regular file")
	case info.Mode().Perm()&0o077 != 0:
		return nil, api.E(api.Denied, "read", path, "others can read or write it (mode %04o); run chmod 600 %s, and make a new secret if somebody else may have seen this one",
			info.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, api.E(api.Unavailable, "read", path, "%v", err)
	}
	if len(b) > maxFile {
		return nil, api.E(api.TooLarge, "read", path, "more than %d bytes", maxFile)
	}
	return b, nil
}

// writePrivate replaces a file as a whole: after a crash there is the old one
// or the new one.
func writePrivate(path string, b []byte) (err error) {
	defer func() {
		if err != nil {
			err = api.E(api.Unavailable, "write", path, "%v", err)
		}
	}()
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sweep removes what a killed writePrivate left.
func sweep(path string) {
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"-*"))
	for _, p := range left {
		os.Remove(p)
	}
}
