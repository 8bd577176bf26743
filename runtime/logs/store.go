package logs

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/internal/clock"
)

// flushAfter bounds how long written bytes stay in memory only.
const flushAfter = 50 * time.Millisecond

// Store is the logs of one node. It is safe for concurrent use.
type Store struct {
	dir     string
	limits  Limits
	clock   clock.Clock
	log     *slog.Logger
	readers sync.Pool     // *[maxRecord]byte, for pumps
	files   atomic.Uint64 // last segment number given out

	ticks sync.WaitGroup // pending flush timers; Close waits for them

	mu     sync.Mutex
	realms map[string]*realm
	closed bool
}

// Open makes a store in dir, which it creates if necessary, and removes the
// segments that an earlier run left there.
func Open(dir string, limits Limits, c clock.Clock, log *slog.Logger) (*Store, error) {
	if err := limits.setDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	if err := removeOld(dir); err != nil {
		return nil, fmt.Errorf("open logs: remove an earlier run's: %w", err)
	}
	s := &Store{dir: dir, limits: limits, clock: c, log: log, realms: make(map[string]*realm)}
	s.readers.New = func() any { return new([maxRecord]byte) }
	return s, nil
}

var segmentName = regexp.MustCompile(`^[0-9]+\.seg$`)

// removeOld deletes nothing that does not look like ours, whatever directory
// was configured.
func removeOld(dir string) error {
	realms, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, r := range realms {
		if !r.IsDir() {
			continue
		}
		sub := filepath.Join(dir, r.Name())
		files, err := os.ReadDir(sub)
		if err != nil {
			return err
		}
		ours := 0
		for _, f := range files {
			if segmentName.MatchString(f.Name()) {
				if err := os.Remove(filepath.Join(sub, f.Name())); err != nil {
					return err
				}
				ours++
			}
		}
		if ours == len(files) {
			_ = os.Remove(sub) // an empty directory is no harm either
		}
	}
	return nil
}

// dirName makes one path element of a realm id, which is trusted to be unique
// but not to be harmless.
func dirName(realm string) string {
	if strings.Trim(realm, ".") == "" {
		return "%" + strings.Repeat("2E", len(realm))
	}
	return url.PathEscape(realm)
}

// Proc returns the log of a proc and makes it if there is none. Call it before
// the proc starts: from then until Log.Close, Read can follow it. After
// RemoveRealm or Store.Close the log takes nothing.
func (s *Store) Proc(realmID, proc string) *Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.realms[realmID]
	if r == nil {
		r = newRealm(s, realmID)
		r.dead = s.closed
		if !s.closed {
			s.realms[realmID] = r
		}
	}
	// With Store.mu held (here only), RemoveRealm cannot come between finding
	// the realm and entering the proc.
	return r.proc(proc)
}

// find returns a proc's log, or nil.
func (s *Store) find(realmID, proc string) *Log {
	s.mu.Lock()
	r := s.realms[realmID]
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.procs[proc]
}

// Forget drops a proc's log: nobody will ask for it again. Its bytes in shared
// segments go when the segments do.
func (s *Store) Forget(realmID, proc string) {
	if l := s.find(realmID, proc); l != nil {
		l.forget()
	}
}

// RemoveRealm closes and removes all logs of a realm, and their files.
func (s *Store) RemoveRealm(realmID string) {
	s.mu.Lock()
	r := s.realms[realmID]
	delete(s.realms, realmID)
	s.mu.Unlock()
	if r != nil {
		r.remove()
	}
}

// Close writes out what is buffered and ends all followers. Logs take nothing
// afterwards; the files stay until the next Open.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	realms := s.realms
	s.realms = make(map[string]*realm)
	s.mu.Unlock()
	for _, r := range realms {
		r.close()
	}
	s.ticks.Wait()
}

// Stats are one realm's figures.
type Stats struct {
	Procs        int   // known logs
	Segments     int   // files
	Bytes        int64 // in files
	DroppedBytes int64 // of procs' output, ever, by limits or for want of disk space
	DroppedLines int64
}

// Stats gives the figures of a realm; all zero if it has no logs.
func (s *Store) Stats(realmID string) Stats {
	s.mu.Lock()
	r := s.realms[realmID]
	s.mu.Unlock()
	if r == nil {
		return Stats{}
	}
	return r.stats()
}
