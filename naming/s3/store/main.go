// Command versitygw is the S3 server that a fresh σOS cluster brings: versitygw
// over a directory. It is a module and a process of its own, so that its
// dependencies stay out of sigmad's, and because it changes its process's
// directory and allows one instance per process.
//
// sigmad starts it and writes one line of JSON, a Settings, to its standard
// input. It serves S3 on a Unix socket until that input ends: it does not
// outlive its sigmad.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Settings is what sigmad tells.
type Settings struct {
	Dir    string `json:"dir"`    // each bucket is a directory in it
	Socket string `json:"socket"` // absolute
	Region string `json:"region"`
	Access string `json:"access"`
	Secret string `json:"secret"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "versitygw:", err)
		os.Exit(1)
	}
}

func run() error {
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("reading the settings: %w (sigmad starts this program; it is of no use by itself)", err)
	}
	var s Settings
	if err := json.Unmarshal(line, &s); err != nil {
		return errors.New("the settings are no JSON") // which holds a secret: say no more
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()
	// Root as it may be, it touches nothing but its own directories.
	own := landlock.RWDirs(s.Dir, filepath.Dir(s.Socket)).WithRefer()
	if err := landlock.V3.BestEffort().RestrictPaths(own, landlock.RODirs("/proc", "/etc", "/usr/share").IgnoreIfMissing()); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	be, err := posix.New(s.Dir, meta.XattrMeta{}, posix.PosixOpts{
		NewDirPerm: 0o700, NewFilePerm: 0o600, ValidateBucketNames: true, Concurrency: 256, CopyObjectThreshold: 5 << 30,
	})
	if err != nil {
		return err
	}
	return embedgw.RunVersityGW(ctx, oneVersion{be}, &embedgw.Config{
		RootUserAccess: s.Access, RootUserSecret: s.Secret, Region: s.Region,
		Ports: []string{s.Socket}, SocketPerm: "0600",
		MaxConnections: 1024, MaxRequests: 512, MultipartMaxParts: 10_000, KeepAlive: true, Quiet: true,
	})
}

// dropCapabilities leaves of root its files alone.
func dropCapabilities() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, e := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&none[0])), 0)
	if e != 0 {
		return fmt.Errorf("capabilities: %w", e)
	}
	return nil
}
