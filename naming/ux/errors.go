package ux

import (
	"errors"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// kinds of what the kernel answers; anything else is our defect.
var kinds = []struct {
	errno unix.Errno
	kind  api.Kind
	text  string
}{
	{unix.ENOENT, api.NotFound, "there is no such file"},
	{unix.ESTALE, api.NotFound, "there is no such file"},
	{unix.EEXIST, api.Exists, "it exists"},
	{unix.ENOTEMPTY, api.NotEmpty, "the directory has entries"},
	{unix.ENOTDIR, api.NotDir, "it is no directory"},
	{unix.EISDIR, api.IsDir, "it is a directory"},
	{unix.EFBIG, api.TooLarge, "the disk holds no file of that size"},
	{unix.ENAMETOOLONG, api.TooLarge, "the name is too long for the disk"},
	{unix.EMLINK, api.Busy, "the directory holds as many directories as this disk allows"},
	// Things that were put there by hand: nothing of ours.
	{unix.ELOOP, api.NotFound, "there is no such file"},
	{unix.EXDEV, api.NotFound, "there is no such file"},
	{unix.ENXIO, api.NotFound, "there is no such file"},
}

// fail turns an error of the kernel into one for callers.
func (s *Server) fail(op, subject string, err error) error {
	var known *api.Error
	if errors.As(err, &known) {
		return err
	}
	for _, k := range kinds {
		if errors.Is(err, k.errno) {
			return api.E(k.kind, op, subject, "%s", k.text)
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return s.diskFull(op, subject)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return api.E(api.Unavailable, op, subject, "node %s has too many files open; try again later", s.cfg.Node)
	case errors.Is(err, unix.EROFS):
		return api.E(api.Unavailable, op, subject, "the disk of node %s can only be read now; use another node", s.cfg.Node)
	case errors.Is(err, unix.EIO), errors.Is(err, errMeta):
		s.log.Error("the disk fails", "op", op, "file", subject, "err", err)
		return api.E(api.Unavailable, op, subject, "the disk of node %s fails: %v", s.cfg.Node, err)
	}
	return api.E(api.Internal, op, subject, "%v", err)
}

func (s *Server) diskFull(op, subject string) error {
	return api.E(api.Unavailable, op, subject, "the disk of node %s is full; remove files there, or use another node", s.cfg.Node)
}
