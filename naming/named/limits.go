package named

import (
	"time"

	"sigmaos/api"
)

// Limits of one realm's tree. A zero field means its default.
type Limits struct {
	FileSize int64 // bytes of one file; default and maximum 1 MiB
	Bytes    int64 // contents, names and targets together; default 256 MiB
	Files    int64 // files, directories and links; default 2,000,000
	Depth    int   // directories on the way to a file; default 256
	Handles  int   // open files; default 65,536
	Watchers int   // default 10,000
	Pending  int   // events that a watcher may be behind; default 4,096
	Events   int   // kept for watches that resume; default 100,000
	Leases   int   // default 16,384
	Replays  int   // remembered ids of writes; default 10,000
}

// Bounds that are not the realm's choice.
const (
	maxFileSize = 1 << 20
	maxReplayID = 64 // bytes of Put.NoReplay
	maxUser     = 255
	maxProc     = 64

	minLease = time.Second
	maxLease = time.Minute

	// maxTxnOps is etcd's limit for one transaction. Besides its changes one may
	// have the log, an id block, a group of remembered writes and old ones.
	maxTxnOps = 128
	besides   = 3 + maxForget
	maxKeys   = maxTxnOps - besides
	// maxTxnBytes leaves room below etcd's 1.5 MiB for one largest file and its
	// directory. A batch ends before it.
	maxTxnBytes = 5 << 18
	// opKeys is the most keys that one ordinary change counts for: a rename over
	// what is there has two entries, two files and two directories.
	opKeys = 6

	idBlock = 1 << 20 // file ids that a leader reserves at once
)

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def64 := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def64(&l.FileSize, maxFileSize)
	l.FileSize = min(l.FileSize, maxFileSize)
	def64(&l.Bytes, 256<<20)
	def64(&l.Files, 2_000_000)
	def(&l.Depth, 256)
	def(&l.Handles, 1<<16)
	def(&l.Watchers, 10_000)
	def(&l.Pending, 4096)
	def(&l.Events, 100_000)
	def(&l.Leases, 1<<14)
	def(&l.Replays, 10_000)
	return l
}

// sizeError is the answer to a file that would be too large.
func (r *req) sizeError(name string, size, limit int64) error {
	return r.err(api.TooLarge, name, "%d bytes are too large for named (at most %d); use /ux or /s3", size, limit)
}
