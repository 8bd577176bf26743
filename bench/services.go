package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sigmaos/runtime/cgroup"
)

// confiner gives plain processes cgroups. empty removes them once the processes
// have ended.
type confiner interface {
	confine(pids ...int) (empty func() error, err error)
}

// services are cgroups like those that an init system gives the services of a
// machine: one for each process, of one level, in every hierarchy, with the weight
// of a new group and no limits. A tree must be open in the layout meanwhile, which
// has the controllers of v2 enabled.
type services struct {
	layout cgroup.Layout
	next   int
}

func (s *services) confine(pids ...int) (empty func() error, err error) {
	var made []string
	empty = func() (err error) {
		for _, dir := range made {
			err = errors.Join(err, removeGroup(dir))
		}
		return err
	}
	for _, pid := range pids {
		s.next++
		mine := make(map[string]bool) // controllers may share a hierarchy
		for _, base := range s.layout.Dirs {
			dir := filepath.Join(base, fmt.Sprintf("%s%d-service%d", ownPrefix, os.Getpid(), s.next))
			if mine[dir] {
				continue
			}
			mine[dir] = true
			if err := os.Mkdir(dir, 0o755); err != nil {
				return empty, fmt.Errorf("bench: %w", err)
			}
			made = append(made, dir)
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
				return empty, fmt.Errorf("bench: moving process %d: %w", pid, err)
			}
		}
	}
	return empty, nil
}

// removeGroup waits for a process that is ending to leave its group.
func removeGroup(dir string) (err error) {
	for range 100 {
		if err = os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("bench: %w", err)
}
