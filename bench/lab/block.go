package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Block is a disk of a Space that can be slow: an ext4 in memory behind a loop
// device, so that what is written has to get through the kernel's block layer,
// which counts the requests.
type Block struct {
	device string   // MAJOR:MINOR
	limits []string // files that bound its writes
}

// Block mounts an empty disk of so many bytes like [Space.Disk] does, and it goes
// like that one: the device lets go of its memory with the last mount. A kernel
// that cannot bound a device's writes (cgroup v1's blkio can, at its root) gives an
// error.
func (s *Space) Block(dir string, size int64) (*Block, error) {
	b, err := s.block(dir, size)
	if err != nil {
		return nil, fmt.Errorf("lab: a block device at %s: %w", dir, err)
	}
	return b, nil
}

func (s *Space) block(dir string, size int64) (*Block, error) {
	limits, err := writeLimits()
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("disk", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, size); err != nil {
		return nil, err
	}
	loop, err := attach(fd)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", loop.Name()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(loop.Fd()), &st); err != nil {
		return nil, err
	}
	b := &Block{device: fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), limits: limits}
	if err := b.Slow(0); err != nil { // what somebody else may have left
		return nil, err
	}
	return b, s.Do(func() error {
		if err := ownMounts(); err != nil {
			return err
		}
		return unix.Mount(loop.Name(), dir, "ext4", unix.MS_NOSUID|unix.MS_NODEV, "")
	})
}

// attach puts a file behind a free loop device, until nobody has that open or
// mounted.
func attach(fd int) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 10 { // another may take it first
		var n int
		if n, err = unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE); err != nil {
			return nil, err
		}
		var f *os.File
		if f, err = os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0); err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(fd)}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		if err = unix.IoctlLoopConfigure(int(f.Fd()), &config); err == nil {
			return f, nil
		}
		f.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, err
}

// ErrNoLimits says that this machine has nothing by which a device can be slowed down.
var ErrNoLimits = errors.New("no cgroup v1 hierarchy with blkio is mounted")

// writeLimits are the files in which the writes of devices are bounded: those of
// the group at the root, for what the kernel writes by itself, and of this
// process's.
func writeLimits() ([]string, error) {
	const name = "blkio.throttle.write_iops_device"
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	root := ""
	for _, line := range strings.Split(string(mounts), "\n") {
		left, right, ok := strings.Cut(line, " - ")
		if f := strings.Fields(left); ok && len(f) > 4 && strings.HasPrefix(right, "cgroup ") && strings.Contains(right, "blkio") {
			root = f[4]
		}
	}
	if root == "" {
		return nil, ErrNoLimits
	}
	out := []string{filepath.Join(root, name)}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(groups), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) == 3 && strings.Contains(f[1], "blkio") && f[2] != "/" {
			out = append(out, filepath.Join(root, f[2], name))
		}
	}
	for _, file := range out {
		if _, err := os.Stat(file); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Slow lets the disk do so many writes a second from now on; 0 is as many as it
// can. The bound is the machine's: what does not take it away leaves it behind.
func (b *Block) Slow(writes int) error {
	for _, file := range b.limits {
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s %d", b.device, writes), 0); err != nil {
			return fmt.Errorf("lab: bounding the writes of device %s: %w", b.device, err)
		}
	}
	return nil
}
