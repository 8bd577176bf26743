package fusemount

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/view"
)

// Options of a mount.
type Options struct {
	Dir      string
	Source   view.Source
	Name     string // of what is mounted, for df and /proc/mounts
	Others   bool   // other users of this machine may act as the mount's caller
	ReadOnly bool
	Log      *slog.Logger
	// Ready is called once, when programs can use the mount; cleaned says that a
	// dead mount was in its place.
	Ready func(point string, cleaned bool)
	// Busy is called when the mount is to end and programs still use it; they get
	// errors from then on.
	Busy func(point string)
}

// Run mounts a realm and serves it until ctx ends or somebody unmounts it.
func Run(ctx context.Context, o Options) error {
	point, cleaned, err := prepare(o.Dir)
	if err != nil {
		return err
	}
	fs := view.New(view.Config{Source: o.Source})
	defer fs.Close()
	if err := reachable(ctx, fs); err != nil {
		return err
	}
	s := newServer(fs, point, o.Log)
	conn, err := fuse.NewServer(s, point, mountOptions(o))
	if err != nil {
		s.close()
		return mountError(o.Dir, err)
	}
	m, _, err := mounted(point)
	if err != nil { // then it can be neither tuned nor cut off, but be used
		s.log.Warn("mount", "dir", point, "err", err)
	}
	readAhead(m.device)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn.Serve()
	}()
	if o.Ready != nil {
		o.Ready(point, cleaned)
	}
	o.serve(ctx, s, m, point, done)
	s.close()
	return nil
}

const (
	patience = time.Second // with programs that are about to leave
	glance   = time.Second // between two looks whether the mount is still there
)

// serve returns when the mount has ended, or is to end. The kernel tells the end
// only when the last mount namespace of the machine has let it go; so it is looked
// for in this one.
func (o Options) serve(ctx context.Context, s *server, m mount, point string, done <-chan struct{}) {
	t := time.NewTicker(glance)
	defer t.Stop()
	for {
		select {
		case <-done: // unmounted
			return
		case <-ctx.Done():
			o.end(s, m, point, done)
			return
		case <-t.C:
			if m.gone() && !s.used() {
				s.cutOff(m, done)
				return
			}
		}
	}
}

// reachable asks for the root, so that a wrong realm or token is told before
// anything is mounted.
func reachable(ctx context.Context, fs *view.FS) error {
	ctx, cancel := context.WithTimeout(ctx, short)
	defer cancel()
	_, err := fs.Root().Attr(ctx)
	return err
}

func mountOptions(o Options) *fuse.MountOptions {
	m := &fuse.MountOptions{
		FsName: o.Name, Name: fsType, AllowOther: o.Others, DirectMount: os.Geteuid() == 0,
		DirectMountFlags: unix.MS_NOSUID | unix.MS_NODEV,
		MaxWrite:         1 << 20, MaxReadAhead: 1 << 20, MaxBackground: 64,
		DisableXAttrs: true, ExtraCapabilities: fuse.CAP_READDIRPLUS_AUTO,
		Logger: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	if o.ReadOnly {
		m.DirectMountFlags |= unix.MS_RDONLY
		if os.Geteuid() != 0 {
			m.Options = append(m.Options, "ro")
		}
	}
	return m
}

func mountError(dir string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return api.E(api.Unsupported, "mount", dir, "only root can mount without fusermount3; install the package fuse3")
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV):
		return api.E(api.Unsupported, "mount", dir, "this kernel has no FUSE (no /dev/fuse); modprobe fuse")
	case errors.Is(err, os.ErrPermission):
		return api.E(api.Denied, "mount", dir, "the kernel refuses it: %v", err)
	}
	return api.E(api.Unavailable, "mount", dir, "%v", err)
}

// end unmounts, and cuts off programs that do not leave.
func (o Options) end(s *server, m mount, point string, done <-chan struct{}) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := unmount(point)
		if err == nil || errors.Is(err, unix.EINVAL) { // EINVAL: somebody was faster
			s.cutOff(m, done)
			return
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			break
		}
	}
	if o.Busy != nil {
		o.Busy(point)
	}
	if err := detach(point); err != nil {
		s.log.Warn("the mount point cannot be freed", "dir", point, "err", err)
	}
	s.cutOff(m, done)
}

// cutOff ends what is left of a mount that nobody of this mount namespace finds
// any more: programs that still use it, and copies in other namespaces, made when
// those were. What was written is sent first.
func (s *server) cutOff(m mount, done <-chan struct{}) {
	if !s.used() { // then it is about to end, unless there are copies
		select {
		case <-done:
			return
		case <-time.After(patience):
		}
	}
	s.flush()
	abort(m.device)
	select {
	case <-done:
	case <-time.After(patience): // the process's end is the mount's
	}
}
