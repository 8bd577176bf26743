package fusemount

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// What a mount looks like in /proc/mounts.
const (
	fsType   = "sigma"
	fullType = "fuse." + fsType
)

// mount is a line of mountinfo.
type mount struct {
	device string // MAJOR:MINOR
	point  string
	kind   string
}

// mounts are those of this mount namespace, the last one on top.
func mounts() (list []mount, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, api.E(api.Unavailable, "mount", "", "what is mounted is not known: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if m, ok := parseMount(line); ok {
			list = append(list, m)
		}
	}
	return list, nil
}

// mounted returns what is mounted at a path; by its name alone, nobody's mount is
// touched. An error says that it is not known.
func mounted(point string) (m mount, ok bool, err error) {
	list, err := mounts()
	for _, l := range list {
		if l.point == point {
			m, ok = l, true
		}
	}
	return m, ok, err
}

// gone reports whether m is surely not in this mount namespace any more, wherever
// it was moved.
func (m mount) gone() bool {
	list, err := mounts()
	return err == nil && m.device != "" && !slices.ContainsFunc(list, func(l mount) bool { return l.device == m.device })
}

func parseMount(line string) (m mount, ok bool) {
	left, right, ok := strings.Cut(line, " - ")
	f, g := strings.Fields(left), strings.Fields(right)
	if !ok || len(f) < 5 || len(g) < 1 {
		return m, false
	}
	return mount{device: f[2], point: unescape.Replace(f[4]), kind: g[0]}, true
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// prepare returns the directory to mount on, by its real name. A dead mount of
// ours that is in the way is taken away; cleaned says so.
func prepare(dir string) (point string, cleaned bool, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", false, api.E(api.Invalid, "mount", dir, "%v", err)
	}
	if up, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(up, filepath.Base(abs))
	}
	m, ours, err := mounted(abs)
	if err != nil {
		return "", false, err
	}
	ours = ours && m.kind == fullType
	isDir, err := look(abs)
	switch {
	case errors.Is(err, unix.ENOTCONN) && ours:
		if err := detach(abs); err != nil {
			return "", false, api.E(api.Unavailable, "mount", dir, "the sigmactl that served this mount is dead, and the mount cannot be removed: %v; try: umount -l %s", err, abs)
		}
		if isDir, err = look(abs); err == nil {
			cleaned = true
		}
	case errors.Is(err, unix.ENOTCONN):
		return "", false, api.E(api.Unavailable, "mount", dir, "what serves the mount there is dead; remove it with: fusermount3 -u %s (or, as root, umount -l)", abs)
	case err == errHangs:
		return "", false, api.E(api.Unavailable, "mount", dir, "the mount there does not answer; end the program that serves it, or: umount -l %s", abs)
	case ours:
		return "", false, api.E(api.Exists, "mount", dir, "a realm is mounted there; umount %s first", abs)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return "", cleaned, api.E(api.NotFound, "mount", dir, "there is no such directory; make it first: mkdir %s", dir)
	case err != nil:
		return "", cleaned, api.E(api.Invalid, "mount", dir, "%v", err)
	case !isDir:
		return "", cleaned, api.E(api.NotDir, "mount", dir, "it is no directory")
	}
	point, err = filepath.EvalSymlinks(abs)
	if err != nil {
		return "", cleaned, api.E(api.Invalid, "mount", dir, "%v", err)
	}
	return point, cleaned, nil
}

var errHangs = errors.New("it does not answer")

// look is stat, for a path that may be on a mount which is dead (the kernel may
// still know the attributes, so they are asked for anew) or hangs. Then the call
// stays behind until the process ends.
func look(path string) (isDir bool, err error) {
	type found struct {
		st  unix.Statx_t
		err error
	}
	c := make(chan found, 1)
	go func() {
		var f found
		f.err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC, unix.STATX_TYPE, &f.st)
		c <- f
	}()
	select {
	case f := <-c:
		return f.st.Mode&unix.S_IFMT == unix.S_IFDIR, f.err
	case <-time.After(3 * time.Second):
		return false, errHangs
	}
}

// unmount ends a mount that nobody uses; detach takes it away from where it is,
// used or not. EINVAL says that there is none.
func unmount(point string) error { return umount(point, 0, "-u") }
func detach(point string) error  { return umount(point, unix.MNT_DETACH, "-uz") }

func umount(point string, flags int, option string) error {
	err := unix.Unmount(point, flags|unix.UMOUNT_NOFOLLOW)
	if err != unix.EPERM {
		return err
	}
	for _, bin := range []string{"/usr/bin/fusermount3", "/bin/fusermount3", "/usr/bin/fusermount", "/bin/fusermount"} {
		if _, serr := os.Stat(bin); serr == nil {
			out, err := exec.Command(bin, option, "--", point).CombinedOutput()
			if err != nil && len(out) > 0 {
				err = errors.New(strings.TrimSpace(string(out)))
			}
			return err
		}
	}
	return err
}

// readAhead lets the kernel read ahead in large pieces; it may refuse.
func readAhead(device string) {
	if device == "" {
		return
	}
	os.WriteFile("/sys/class/bdi/"+device+"/read_ahead_kb", []byte("1024"), 0)
}

// abort ends the kernel's side of a mount that was detached while in use.
func abort(device string) {
	if _, minor, ok := strings.Cut(device, ":"); ok {
		os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0)
	}
}
