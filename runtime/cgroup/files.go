package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// write sets a control file. It never makes one: a file that the kernel does
// not offer is fs.ErrNotExist. It is not an os.File: those wait on the poller after
// EAGAIN, which memory.reclaim says when it could drop less than it was asked for,
// and nothing ever wakes them, for control files are "ready" all the time.
func write(dir, name, value string) error {
	path := filepath.Join(dir, name)
	fd, err := again(func() (int, error) { return unix.Open(path, unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0) })
	if err != nil {
		return fmt.Errorf("cgroup: setting %s: %w", value, &os.PathError{Op: "open", Path: path, Err: err})
	}
	defer unix.Close(fd)
	if _, err := again(func() (int, error) { return unix.Write(fd, []byte(value)) }); err != nil {
		return fmt.Errorf("cgroup: setting %s: %w", value, &os.PathError{Op: "write", Path: path, Err: err})
	}
	return nil
}

// again makes a call until no signal interrupts it.
func again(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
}

func read(dir, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func readInt(dir, name string) (int64, error) {
	s, err := read(dir, name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cgroup: %s: %w", filepath.Join(dir, name), err)
	}
	return n, nil
}

// field finds "name value" in a file of such lines.
func field(dir, name, key string) (int64, error) {
	s, err := read(dir, name)
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(s, "\n") {
		if k, v, ok := strings.Cut(line, " "); ok && k == key {
			return strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		}
	}
	return 0, fmt.Errorf("cgroup: %s has no %s", filepath.Join(dir, name), key)
}

// procs are the processes in a group, without those that are dead and not yet
// reaped, and without those that our pid namespace does not show.
func procs(dir string) ([]int, error) { return ids(dir, "cgroup.procs") }

// ids reads a file of processes or threads.
func ids(dir, file string) ([]int, error) {
	s, err := read(dir, file)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, f := range strings.Fields(s) {
		if n, err := strconv.Atoi(f); err == nil && n > 0 {
			out = append(out, n)
		}
	}
	return out, nil
}

// subdirs are the names of the groups in a group.
func subdirs(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	var out []string
	for _, e := range list {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
