package local

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// usage is what the buckets of one prefix hold, as far as is known: what was
// counted, and what was sent since.
type usage struct {
	counted int64
	since   int64
	at      time.Time
	took    time.Duration
}

// Counting again is for a count that is old, or at the limit and not brand new.
const (
	countEvery = 30 * time.Second
	countLeast = time.Second
)

// Room says whether n more bytes may be written to the buckets whose names begin
// with prefix, and takes them for written. A disk that is nearly full is for
// reading and removing alone: the node has other use for the rest.
func (s *Server) Room(prefix string, n int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.cfg.Dir, &st); err != nil {
		return api.E(api.Unavailable, "write", "", "the disk of the cluster's own store: %v", err)
	}
	keep := min(int64(st.Blocks)*st.Bsize/20, 1<<30)
	if int64(st.Bavail)*st.Bsize-n < keep {
		return api.E(api.Unavailable, "write", "", "the disk of the cluster's own store is full; remove objects, or have an operator set a store with sigmactl realm set-s3")
	}
	s.room.Lock()
	defer s.room.Unlock()
	u := s.usageOf(prefix)
	limit := s.cfg.Quota
	if now := time.Since(u.at); now > max(countEvery, 20*u.took) || u.counted+u.since+n > limit && now > max(countLeast, 2*u.took) {
		u.count(s.cfg.Dir, prefix)
	}
	if u.counted+u.since+n > limit {
		return api.E(api.Busy, "write", "", "the realm may keep %d MiB in the cluster's own store, and has %d; remove objects, or have an operator set a store with sigmactl realm set-s3", limit>>20, (u.counted+u.since)>>20)
	}
	u.since += n
	return nil
}

func (s *Server) usageOf(prefix string) *usage {
	u := s.usages[prefix]
	if u == nil {
		u = &usage{}
		s.usages[prefix] = u
	}
	return u
}

// count walks over the buckets. What has been sent and is not on the disk yet is
// forgotten until the next time.
func (u *usage) count(dir, prefix string) {
	begin := time.Now()
	u.counted, u.since = 0, 0
	list, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
	for _, bucket := range list {
		filepath.WalkDir(bucket, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if i, err := d.Info(); err == nil {
					u.counted += i.Size()
				}
			}
			return nil // what is gone meanwhile is not counted
		})
	}
	u.at, u.took = time.Now(), time.Since(begin)
}

// removeStale removes the parts of uploads that nobody has gone on with for a day:
// their writers are gone.
func (s *Server) removeStale() {
	list, _ := filepath.Glob(filepath.Join(s.cfg.Dir, "*", ".sgwtmp", "multipart", "*", "*"))
	for _, d := range list {
		if st, err := os.Stat(d); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			os.RemoveAll(d)
		}
	}
}
