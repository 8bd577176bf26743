package binfs

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// maxBackground is how many reads ahead may wait in the server: the kernel's 12
// would let the dead store of one realm hold up all others.
const maxBackground = 1024

// Main is the whole of the serving process: it mounts, says so on descriptor
// 3, and serves until that socket ends. It never touches its own mount.
func Main() int {
	debug.SetMemoryLimit(64 << 20)
	os.WriteFile("/proc/self/comm", []byte(ProcessName), 0) // else it is "exe" to ps
	conn := os.NewFile(3, "binfs")
	unix.CloseOnExec(3)
	dec, enc := json.NewDecoder(conn), json.NewEncoder(conn)
	fail := func(err error) int {
		enc.Encode(ready{Error: err.Error()})
		return 1
	}
	var set settings
	if err := dec.Decode(&set); err != nil {
		return 1
	}
	// Nothing that happens here shows outside, and nothing outside comes in.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fail(fmt.Errorf("making mounts private: %w", err))
	}
	dir, jail, err := mountPoints(set.Run)
	if err != nil {
		return fail(err)
	}
	if err := buildJail(jail); err != nil {
		return fail(fmt.Errorf("building the jail: %w", err))
	}
	// Not OpenStore: sigmad's uploads of this moment are not ours to clean up.
	store := &Store{dir: set.Store}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var from remote
	if set.Ask {
		unix.CloseOnExec(4)
		unix.SetNonblock(4, true)
		from = newAsker(os.NewFile(4, "asks"))
	}
	programs := newCache(store, from, set.Quota, logger)
	fsys := newFileSystem(programs, logger)
	fsys.saveProfile = programs.learn
	srv, err := fuse.NewServer(fsys, dir, &fuse.MountOptions{
		FsName: "binfs", Name: "binfs", AllowOther: true, DirectMountStrict: true, DirectMountFlags: unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV,
		Options: []string{"default_permissions"}, MaxReadAhead: 1 << 20, DisableXAttrs: true,
		MaxBackground: maxBackground,
		// The kernel's own locks and our server must not poll each other.
		Logger: log.New(io.Discard, "", 0),
	})
	if err != nil {
		return fail(fmt.Errorf("mounting FUSE (is the fuse module loaded?): %w", err))
	}
	fsys.pages = srv
	go srv.Serve()
	if err := srv.WaitMount(); err != nil {
		return fail(fmt.Errorf("FUSE does not answer: %w", err))
	}
	enc.Encode(ready{})
	for {
		var q question
		if err := dec.Decode(&q); err != nil {
			unix.Unmount(dir, unix.MNT_DETACH)
			return 0
		}
		if q.Cold && q.Digest == "" {
			enc.Encode(programs.allCold(q.Realm))
			continue
		}
		if q.Cold {
			enc.Encode(programs.coldOf(q.Realm, q.Digest))
			continue
		}
		enc.Encode(fsys.stats())
	}
}
