package fusemount

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// status is what a program sees of err. Where the mount has ended and the kernel could
// not be told (abort), a program in another mount namespace may ask on.
func (s *server) status(err error) fuse.Status {
	switch {
	case err == nil:
		return fuse.OK
	case s.ctx.Err() != nil:
		return fuse.Status(syscall.ENOTCONN)
	case errors.Is(err, context.Canceled):
		return fuse.EINTR
	}
	n := ninep.Errno(err)
	if n == syscall.ECANCELED {
		n = syscall.EINTR
	}
	return fuse.Status(n)
}

// badName is Linux's number for a name that no entry can have.
func badName(name string) fuse.Status {
	err := tree.CheckName("lookup", name)
	switch api.KindOf(err) {
	case "":
		return fuse.OK
	case api.TooLarge:
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	return fuse.Status(syscall.EILSEQ) // it is not UTF-8
}
