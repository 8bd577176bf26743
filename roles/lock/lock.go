// Package lock gives one sigmad its directories and keeps a second one out. A
// lock on a file of the data directory ends with its process however that
// dies; what a killed run left in the run directory is removed by the next.
package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Instance is a held pair of directories.
type Instance struct {
	run  string
	file *os.File
}

// Acquire takes the lock and makes the directories.
func Acquire(runDir, dataDir string) (*Instance, error) {
	for _, d := range []string{dataDir, runDir} {
		if !filepath.IsAbs(d) || filepath.Clean(d) == "/" {
			return nil, fmt.Errorf("directory %q: want an absolute path of its own", d)
		}
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making %s (sigmad needs root): %w", dataDir, err)
	}
	path := filepath.Join(dataDir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("locking %s (sigmad needs root): %w", dataDir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dataDir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		b := make([]byte, 32)
		n, _ := f.Read(b)
		f.Close()
		return nil, fmt.Errorf("another sigmad (process %s) uses %s; stop it, or give this one a --name of its own", strings.TrimSpace(string(b[:n])), dataDir)
	}
	f.Truncate(0)
	if _, err := f.WriteAt([]byte(fmt.Sprintf("%d\n", os.Getpid())), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("writing %s (is the disk full?): %w", path, err)
	}
	i := &Instance{run: runDir, file: f}
	// Last, so that whoever fails before has nothing to take back.
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		f.Close()
		return nil, fmt.Errorf("making %s: %w", runDir, err)
	}
	if err := i.clear(); err != nil {
		f.Close()
		return nil, fmt.Errorf("removing what an earlier run left in %s: %w", runDir, err)
	}
	return i, nil
}

// clear removes what a sigmad makes in its run directory, and nothing else.
func (i *Instance) clear() error {
	var errs []error
	for _, name := range []string{"sock", "etcd", "etcd-peer", "mnt/binfs", "mnt/jail", "mnt"} {
		err := os.Remove(filepath.Join(i.run, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			errs = append(errs, err)
		}
	}
	ways, _ := filepath.Glob(filepath.Join(i.run, "*.etcd:1")) // to other nodes' etcd
	for _, w := range ways {
		errs = append(errs, os.Remove(w))
	}
	return errors.Join(errs...)
}

// Release removes the run directory and gives the lock back.
func (i *Instance) Release() error {
	err := i.clear()
	os.Remove(i.run) // fails while somebody keeps a file of his own in it
	if shared := filepath.Dir(i.run); filepath.Base(shared) == "sigma" {
		os.Remove(shared) // fails while there are other instances
	}
	return errors.Join(err, i.file.Close())
}
