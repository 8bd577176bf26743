package ninep

import (
	"context"
	"errors"
	"syscall"

	"sigmaos/api"
)

// errnos is how a kind looks in the plain dialect; no two look the same.
var errnos = [...]struct {
	kind  api.Kind
	errno syscall.Errno
}{
	{api.Invalid, syscall.EINVAL},
	{api.NotFound, syscall.ENOENT},
	{api.Exists, syscall.EEXIST},
	{api.TooLarge, syscall.EFBIG},
	{api.NoCapacity, syscall.ENOSPC},
	{api.Busy, syscall.EDQUOT},
	{api.Denied, syscall.EACCES},
	{api.Unavailable, syscall.EHOSTDOWN},
	{api.Canceled, syscall.ECANCELED},
	{api.Deadline, syscall.ETIMEDOUT},
	{api.Internal, syscall.EIO},
	{api.Unsupported, syscall.EOPNOTSUPP},
	{api.Conflict, syscall.EBUSY},
	{api.NotDir, syscall.ENOTDIR},
	{api.IsDir, syscall.EISDIR},
	{api.NotEmpty, syscall.ENOTEMPTY},
	{api.TooOld, syscall.ESTALE},
	{api.Loop, syscall.ELOOP},
}

// others are what further numbers of plain servers mean.
var others = [...]struct {
	errno syscall.Errno
	kind  api.Kind
}{
	{syscall.EPERM, api.Denied}, {syscall.EROFS, api.Denied},
	{syscall.ENAMETOOLONG, api.TooLarge}, {syscall.E2BIG, api.TooLarge}, {syscall.EOVERFLOW, api.TooLarge},
	{syscall.EBADF, api.Invalid}, {syscall.ERANGE, api.Invalid}, {syscall.EPROTO, api.Invalid}, {syscall.ENXIO, api.Invalid},
	{syscall.ENOSYS, api.Unsupported}, {syscall.EXDEV, api.Unsupported}, {syscall.ENOTTY, api.Unsupported},
	{syscall.EAGAIN, api.Busy}, {syscall.ENFILE, api.Busy}, {syscall.EMFILE, api.Busy}, {syscall.ENOMEM, api.Busy},
	{syscall.EINTR, api.Canceled}, {syscall.ENODATA, api.NotFound},
	{syscall.ENOTCONN, api.Unavailable}, {syscall.ECONNREFUSED, api.Unavailable}, {syscall.ECONNRESET, api.Unavailable},
	{syscall.EHOSTUNREACH, api.Unavailable}, {syscall.EPIPE, api.Unavailable}, {syscall.ESHUTDOWN, api.Unavailable},
}

// numbered is an error for which the plain dialect has a better number than that
// of its kind.
type numbered struct {
	err   *api.Error
	errno syscall.Errno
}

func (e *numbered) Error() string { return e.err.Error() }
func (e *numbered) Unwrap() error { return e.err }

// Errno is the number that the plain dialect, or a file system on top of this,
// shows for err.
func Errno(err error) syscall.Errno {
	var n *numbered
	if errors.As(err, &n) {
		return n.errno
	}
	kind := asError("", err).Kind
	for _, e := range errnos {
		if e.kind == kind {
			return e.errno
		}
	}
	return syscall.EIO
}

// KindOf is the kind that a number from a plain server, or from a system call,
// stands for.
func KindOf(errno syscall.Errno) api.Kind {
	for _, e := range errnos {
		if e.errno == errno {
			return e.kind
		}
	}
	for _, e := range others {
		if e.errno == errno {
			return e.kind
		}
	}
	return api.Internal
}

// asError is api.AsError that knows the ends of contexts.
func asError(op string, err error) *api.Error {
	var e *api.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return api.E(api.Canceled, op, "", "canceled")
	case errors.Is(err, context.DeadlineExceeded):
		return api.E(api.Deadline, op, "", "the time ran out")
	}
	return api.AsError(op, err)
}

// over is the error of a call whose context ended: of kind Canceled or Deadline,
// and the context's own.
type over struct {
	err   *api.Error
	cause error
}

func (e *over) Error() string   { return e.err.Error() }
func (e *over) Unwrap() []error { return []error{e.err, e.cause} }

func ended(ctx context.Context) error {
	return &over{asError("", ctx.Err()), context.Cause(ctx)}
}

// maxText bounds each text of an error on the wire.
const maxText = 1024

func cut(s string) string { return s[:min(len(s), maxText)] }

// answer is err as a message of the dialect.
func answer(err error, sigma bool) (uint8, message) {
	errno := uint32(Errno(err))
	if !sigma {
		return tLerror + 1, &lerror{Errno: errno}
	}
	e := asError("", err)
	return tSerror + 1, &serror{Errno: errno, Kind: string(e.Kind), Op: cut(e.Op), Subject: cut(e.Subject), Text: cut(e.Text)}
}

// received is the error that a message of either dialect says.
func received(op string, m message) error {
	switch m := m.(type) {
	case *serror:
		e := &api.Error{Kind: api.Kind(m.Kind), Op: m.Op, Subject: m.Subject, Text: m.Text}
		if errno := syscall.Errno(m.Errno); errno != Errno(e) {
			return &numbered{err: e, errno: errno}
		}
		return e
	case *lerror:
		errno := syscall.Errno(m.Errno)
		e := api.E(KindOf(errno), op, "", "%v", errno)
		return &numbered{err: e, errno: errno}
	}
	return api.E(api.Internal, op, "", "an answer of a type that was not asked for")
}

func bad(op, format string, args ...any) error { return api.E(api.Invalid, op, "", format, args...) }

// badFid is for fids that are unknown, or not open for what is asked.
func badFid(op string, fid uint32, why string) error {
	return &numbered{err: api.E(api.Invalid, op, "", "fid %d %s", fid, why), errno: syscall.EBADF}
}
