// Package lsm finds out which security modules of the kernel can hold a proc
// to its jail, and prepares their rules. Landlock needs no privilege and no
// set-up outside the slot; AppArmor needs a profile in the kernel. A slot uses
// what there is; a node with neither refuses to run procs unless told to.
package lsm

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layers are the modules that a slot will use.
type Layers struct {
	LandlockABI int    // 0 is none
	AppArmor    string // the loaded profile's name; "" is none
	Note        string // why AppArmor is not used although it is on
}

// None reports that nothing but namespaces and the call filter would hold.
func (l Layers) None() bool { return l.LandlockABI == 0 && l.AppArmor == "" }

// Names lists the layers for people, seccomp included because it is always on.
func (l Layers) Names() []string {
	n := []string{"namespaces", "seccomp"}
	if l.LandlockABI > 0 {
		n = append(n, fmt.Sprintf("landlock-%d", l.LandlockABI))
	}
	if l.AppArmor != "" {
		n = append(n, "apparmor")
	}
	return n
}

// Landlock access rights by the ABI that brought them (linux/landlock.h).
const (
	fsABI1    = 1<<13 - 1 // execute … make_sym
	fsRefer   = 1 << 13   // ABI 2
	fsTrunc   = 1 << 14   // ABI 3
	fsIoctl   = 1 << 15   // ABI 5
	netTCP    = 1<<0 | 1<<1
	scopeBoth = 1<<0 | 1<<1 // abstract Unix sockets, signals: ABI 6
)

// Ruleset is what a slot's landlock_ruleset_attr handles, everything the
// kernel knows, and the attribute's size in bytes; 0 is no Landlock.
func (l Layers) Ruleset() (size uint32, fs, net, scoped uint64) {
	abi := l.LandlockABI
	if abi == 0 {
		return 0, 0, 0, 0
	}
	size, fs = 8, fsABI1
	if abi >= 2 {
		fs |= fsRefer
	}
	if abi >= 3 {
		fs |= fsTrunc
	}
	if abi >= 4 {
		size, net = 16, netTCP
	}
	if abi >= 5 {
		fs |= fsIoctl
	}
	if abi >= 6 {
		size, scoped = 24, scopeBoth
	}
	return size, fs, net, scoped
}

// LandlockABI asks the kernel for its version; 0 when it has none or it is off.
func LandlockABI() int {
	const version = 1 // LANDLOCK_CREATE_RULESET_VERSION
	r, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(nil)), 0, version)
	if e != 0 {
		return 0
	}
	return int(r)
}

// AppArmorEnabled reports whether the kernel enforces AppArmor.
func AppArmorEnabled() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}

const profileName = "sigma-proc"

// profile is what a slot enters before no_new_privs; PID 1 and every proc of
// the slot run under it. Paths are those inside the jail; /null is the host's
// /dev/null, descriptor 0, whose mount is out of sight. What is not allowed is
// denied; the network rules are for sockets that sigmad hands over, since no proc
// can make one (seccomp). It includes nothing, so that what it says is all here.
const profile = `profile ` + profileName + ` flags=(attach_disconnected) {
  network unix,
  network inet stream,
  network inet6 stream,
  unix (send, receive, getattr, getopt, setopt, shutdown),
  signal (send, receive) peer=` + profileName + `,
  signal (receive) peer=unconfined,
  /mnt/binfs/** mrix,
  /etc/** r,
  /dev/null rw,
  /null r,
  /dev/zero r,
  /dev/urandom r,
  / r,
  /*/ r,
  owner /proc/** r,
  deny capability,
  deny mount,
  deny umount,
  deny pivot_root,
  deny ptrace,
  deny /proc/*/mem rwx,
  deny /proc/*/ns/** r,
  deny /proc/*/net/** r,
}
`

// Setup detects what there is and loads the AppArmor profile where AppArmor is
// on. Where that fails, Landlock alone has to do; without is an error.
func Setup() (Layers, error) {
	l := Layers{LandlockABI: LandlockABI()}
	if !AppArmorEnabled() {
		return l, nil
	}
	err := load()
	if err == nil {
		l.AppArmor = profileName
	} else if l.LandlockABI > 0 {
		l.Note, err = err.Error(), nil
	}
	return l, err
}

func load() error {
	parser, err := exec.LookPath("apparmor_parser")
	if err != nil {
		return fmt.Errorf("lsm: AppArmor is on, but there is no apparmor_parser to load the profile with (Debian: apt-get install apparmor)")
	}
	cmd := exec.Command(parser, "--replace", "--skip-cache")
	cmd.Stdin = strings.NewReader(profile)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lsm: AppArmor is on, but its profile does not load: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
