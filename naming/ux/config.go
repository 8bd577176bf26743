package ux

import (
	"context"
	"log/slog"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/naming/tree"
)

// Quota is the room of one realm on this node.
type Quota struct {
	Bytes  int64 // sizes of files, each rounded up to 4 KiB
	Inodes int64 // files, directories and links
}

// DefaultQuota is what a realm may use where nothing else is said.
var DefaultQuota = Quota{Bytes: 16 << 30, Inodes: 1_000_000}

// Limits that nobody has asked to change.
const (
	MaxPut    = 16 << 20 // bytes of one Put; more goes through Open
	maxPuts   = 4        // of a realm, with their data on the disk and not yet in its quota
	maxFences = 4096     // elections that a realm's files remember
	maxUser   = 255      // bytes of an owner's name
	blockSize = 4096     // files count in these
)

// Config is what a server needs. Zero values are the defaults.
type Config struct {
	Dir  string // on a local file system with extended attributes; made if not there
	Node string // this node, for error texts

	Quota    Quota // of each realm without SetQuota; default DefaultQuota
	KeepFree int64 // bytes of the disk that ux leaves alone; default 5 %, at most 1 GiB; -1: none
	MaxOpen  int   // files of one realm that are open or handed out; default 4096
	History  int   // changes of one realm that a watch can go back; default 16,384
	Watches  int   // of one realm at once; default 1024

	// CheckFence asks whether a term still holds; an error refuses the write and
	// is what the writer sees. nil: terms are compared with earlier writes only.
	CheckFence func(ctx context.Context, realm string, f tree.Fence) error

	Clock  clock.Clock  // default the machine's
	Logger *slog.Logger // default: nothing is logged
}

func def[T int | int64](p *T, v T) {
	if *p == 0 {
		*p = v
	}
}

// validate fills in defaults.
func (c *Config) validate() error {
	if c.Dir == "" {
		return api.E(api.Invalid, "ux", "", "no directory is configured for scratch space")
	}
	if c.Quota.Bytes < 0 || c.Quota.Inodes < 0 || c.MaxOpen < 0 || c.History < 0 || c.Watches < 0 {
		return api.E(api.Invalid, "ux", c.Dir, "a limit below zero")
	}
	def(&c.Quota.Bytes, DefaultQuota.Bytes)
	def(&c.Quota.Inodes, DefaultQuota.Inodes)
	def(&c.MaxOpen, 4096)
	def(&c.History, 16<<10)
	def(&c.Watches, 1024)
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// checkRealm says whether id can be a realm's directory.
func checkRealm(op, id string) error {
	ok := len(id) > 0 && len(id) <= 64
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
	}
	if !ok {
		return api.E(api.Invalid, op, "", "%.70q is no realm id", id)
	}
	return nil
}
