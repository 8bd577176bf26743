package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"sigmaos/api"
	"sigmaos/naming/db"
	"sigmaos/naming/ninep"
)

// ProcessName is argv[0] of the process that serves one realm.
const ProcessName = "sigmad-db"

// listenerFD is where the process finds its socket.
const listenerFD = 3

// settings is what it is told, as one line on its standard input, whose end is its
// own.
type settings struct {
	Realm  string `json:"realm"`
	Dir    string `json:"dir"`
	Disk   int64  `json:"disk"`   // bytes of one file
	Memory int64  `json:"memory"` // bytes
}

// Main serves a realm's database; sigmad starts it. It returns the exit status.
func Main() int {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "sigmad-db:", err)
		return 1
	}
	return 0
}

func serve() error {
	dec := json.NewDecoder(os.Stdin)
	var s settings
	if err := dec.Decode(&s); err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	l, err := net.FileListener(os.NewFile(listenerFD, "socket"))
	if err != nil {
		return err
	}
	if err := confine(s); err != nil {
		return err
	}
	f, err := Open(filepath.Join(s.Dir, "main.sqlite"), s.Memory)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
		l.Close()
	}()
	fs := db.New(f, db.Limits{}, "")
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			stop()
			return nil
		}
		wg.Go(func() { ninep.Serve(ctx, c, api.Caller{Realm: s.Realm}, fs, ninep.Options{}) })
	}
}

// confine gives up all that a realm's database does not need.
func confine(s settings) error {
	signal.Ignore(syscall.SIGXFSZ, os.Interrupt) // a full file is an error of the query
	limit := unix.Rlimit{Cur: uint64(s.Disk), Max: uint64(s.Disk)}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return fmt.Errorf("limit of file sizes: %w", err)
	}
	unix.Setpriority(unix.PRIO_PROCESS, 0, 10) // behind what is waited for
	debug.SetMemoryLimit(s.Memory / 2)
	if err := landlock.V6.BestEffort().Restrict(landlock.RWDirs(s.Dir)); err != nil { // signals and the network too
		return fmt.Errorf("landlock: %w", err)
	}
	return dropCapabilities()
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
