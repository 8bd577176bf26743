package ux

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// RemoveRealm removes everything of a realm and gives whoever still uses it
// NotFound. The realm is out of sight at once; when ctx ends before the disk is
// free, the work goes on, also at the next start. Removing what is not there
// succeeds. The id cannot be used again while this server lives.
func (s *Server) RemoveRealm(ctx context.Context, id string) error {
	if err := checkRealm("realm rm", id); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return s.errClosed()
	}
	o := s.realms[id]
	s.removed[id] = true
	delete(s.realms, id)
	delete(s.quotas, id)
	done := make(chan error, 1)
	s.wg.Go(func() { done <- s.remove(id, o) })
	s.mu.Unlock()
	select {
	case err := <-done:
		if err != nil {
			return s.fail("realm rm", id, err)
		}
		return nil
	case <-ctx.Done():
		return api.E(api.Deadline, "realm rm", id, "its files are not all removed yet; that goes on: %v", ctx.Err())
	}
}

func (s *Server) remove(id string, o *opening) error {
	if o != nil {
		if <-o.done; o.r != nil {
			o.r.shut(errRemoved(id))
		}
	}
	n, err := s.nextEpoch() // any number that is used once
	if err != nil {
		return err
	}
	err = unix.Renameat2(s.realmsDir, id, s.trashDir, fmt.Sprintf("%s.%d", id, n), unix.RENAME_NOREPLACE)
	if err != nil && err != unix.ENOENT {
		return err
	}
	return s.purge(s.ctx, id)
}

// purge frees the disk of a removed realm; "" is all of them. A purge that was
// cut short is simply begun again.
func (s *Server) purge(ctx context.Context, id string) error {
	select {
	case s.purging <- struct{}{}:
		defer func() { <-s.purging }()
	case <-ctx.Done():
		return ctx.Err()
	}
	fd, err := openBeneath(s.trashDir, ".", asDirectory)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if id != "" && !strings.HasPrefix(name, id+".") {
			continue
		}
		if err := s.purgeDir(ctx, fd, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) purgeDir(ctx context.Context, trash int, name string) error {
	dir, err := openBeneath(trash, name, asDirectory)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := emptyDir(ctx, dir); err != nil {
		return err
	}
	return unix.Unlinkat(trash, name, unix.AT_REMOVEDIR)
}
