package binfs

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// jailFiles is everything that a proc finds in /etc; nothing names a host path,
// a user of the host or another realm.
var jailFiles = []struct{ path, text, from string }{
	{path: "etc/passwd", text: "sigma:x:65534:65534::/:/\n"},
	{path: "etc/group", text: "sigma:x:65534:\n"},
	{path: "etc/hosts", text: "127.0.0.1 localhost\n::1 localhost\n"},
	{path: "etc/nsswitch.conf", text: "passwd: files\ngroup: files\nhosts: files\n"},
	{path: "etc/localtime", from: "/etc/localtime"},
	{path: "etc/ssl/certs/ca-certificates.crt", from: "/etc/ssl/certs/ca-certificates.crt"},
}

var jailDevices = []struct {
	name         string
	major, minor uint32
}{{"null", 1, 3}, {"zero", 1, 5}, {"urandom", 1, 9}}

// buildJail mounts the template of every slot's root on dir: one small
// read-only tmpfs that the slots bind.
func buildJail(dir string) error {
	if err := unix.Mount("sigma", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=4m,nr_inodes=64"); err != nil {
		return err
	}
	old := unix.Umask(0)
	defer unix.Umask(old)
	for _, d := range []string{"etc", "etc/ssl", "etc/ssl/certs", "dev", "proc", "mnt", "mnt/binfs"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, f := range jailFiles {
		text := []byte(f.text)
		if f.from != "" {
			var err error
			if text, err = os.ReadFile(f.from); errors.Is(err, os.ErrNotExist) {
				continue
			} else if err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, f.path), text, 0o444); err != nil {
			return err
		}
	}
	for _, d := range jailDevices {
		if err := unix.Mknod(filepath.Join(dir, "dev", d.name), unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return err
		}
	}
	return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NOEXEC, "")
}
