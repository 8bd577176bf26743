// Package events keeps what happened on a node, for a day: who spawned, killed and
// dialled what, in order, per realm.
//
// [Log.Add] is for paths that must not wait: it puts the event into a bounded
// buffer and returns; one writer appends what is there ten times a second. When
// the buffer is full the event is counted and lost, and the count becomes an
// event. What was added within the last tenth of a second is lost with a sigmad
// that is killed.
//
// A realm has two files, REALM.1 and REALM.0, each of at most half of its room:
// when the newer one is full, or twelve hours old, it becomes the older one. A
// line is one event as JSON, and begins with its version.
package events

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
)

// Config of a log.
type Config struct {
	Dir    string
	Node   string
	Logger *slog.Logger
	Now    func() time.Time // default: the machine's
	Keep   time.Duration    // default 24 h
	Bytes  int64            // of one realm; default 4 MiB
	Buffer int              // events not written yet; default 16,384
	Every  time.Duration    // between writes; default 100 ms
}

const (
	version   = 1
	maxDetail = 200 // bytes of a detail; the rest is cut
	maxLine   = 2 << 10
	maxRealms = 4096 // with events in memory at a time: the cluster's and realms'
)

// Log is a node's. Close it.
type Log struct {
	cfg  Config
	done chan struct{}
	stop chan struct{}
	wake chan struct{} // holds one: there is something to write

	mu    sync.Mutex // of Add; held for a few instructions
	buf   []pending
	spare []pending // an empty buffer to be the next one
	lost  map[string]int

	files sync.Mutex // of who writes and reads; taken before mu
	realm map[string]*realmFile
	out   []byte // of write
}

type pending struct {
	realm string
	e     api.Event
}

// realmFile is what the writer knows of a realm's newer file.
type realmFile struct {
	size  int64
	begun time.Time // of its first event
	last  int64     // sequence number
	fresh bool      // not written since the start
}

// Open makes the directory and starts the writer.
func Open(cfg Config) (*Log, error) {
	def(&cfg.Keep, 24*time.Hour)
	def(&cfg.Bytes, 4<<20)
	def(&cfg.Buffer, 16<<10)
	def(&cfg.Every, 100*time.Millisecond)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg, done: make(chan struct{}), stop: make(chan struct{}), wake: make(chan struct{}, 1), realm: make(map[string]*realmFile), lost: make(map[string]int)}
	go l.run()
	return l, nil
}

func def[T comparable](p *T, v T) {
	if *p == *new(T) {
		*p = v
	}
}

// Add notes an event of a realm, by id; "" is the cluster. It never waits.
func (l *Log) Add(realm string, e api.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) >= l.cfg.Buffer {
		if len(l.lost) < maxRealms {
			l.lost[realm]++
		}
		return
	}
	e.Time, e.Realm = l.cfg.Now(), realm
	l.buf = append(l.buf, pending{realm, e})
	if len(l.buf) == 1 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (l *Log) run() {
	defer close(l.done)
	clean := time.NewTicker(time.Hour)
	defer clean.Stop()
	for {
		select {
		case <-l.stop:
			l.flush()
			return
		case <-l.wake: // more will come with it
			select {
			case <-l.stop:
			case <-time.After(l.cfg.Every):
			}
			l.flush()
		case <-clean.C:
			l.clean()
		}
	}
}

// Close writes what there is and ends the writer.
func (l *Log) Close() error {
	close(l.stop)
	<-l.done
	return nil
}

// flush writes what was added.
func (l *Log) flush() {
	l.files.Lock()
	defer l.files.Unlock()
	l.flushFilesLocked()
}

func (l *Log) flushFilesLocked() {
	l.mu.Lock()
	buf, lost := l.buf, l.lost
	if len(buf) == 0 && len(lost) == 0 {
		l.mu.Unlock()
		return
	}
	l.buf, l.spare, l.lost = l.spare, nil, make(map[string]int)
	l.mu.Unlock()
	for realm, n := range lost {
		buf = append(buf, pending{realm, api.Event{Time: l.cfg.Now(), Realm: realm, Kind: api.EventMissing, Detail: strconv.Itoa(n) + " events"}})
	}
	slices.SortStableFunc(buf, func(a, b pending) int { return strings.Compare(a.realm, b.realm) })
	most := 0
	for from := 0; from < len(buf); {
		realm, to := buf[from].realm, from
		for to < len(buf) && buf[to].realm == realm {
			to++
		}
		if err := l.write(realm, buf[from:to]); err != nil {
			l.cfg.Logger.Warn("the event log", "realm", realm, "err", err)
		}
		most = max(most, len(l.out))
		from = to
	}
	if cap(buf) <= 4*len(buf) { // a large buffer stays while it is used
		clear(buf)
		l.mu.Lock()
		l.spare = buf[:0]
		l.mu.Unlock()
	}
	if cap(l.out) > 4*most {
		l.out = nil
	}
}

var safe = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

// path is that of a realm's newer (1) or older (0) file.
func (l *Log) path(realm, which string) string {
	if realm == "" {
		realm = "-cluster"
	}
	return filepath.Join(l.cfg.Dir, realm+"."+which)
}

// write appends to a realm's newer file, and makes it the older one when it is
// full or old.
func (l *Log) write(realm string, list []pending) error {
	if realm != "" && !safe.MatchString(realm) {
		return errors.New("a realm's id that names no file")
	}
	f := l.realm[realm]
	if f == nil {
		f = l.look(realm)
		if len(l.realm) >= maxRealms {
			clear(l.realm)
		}
		l.realm[realm] = f
	}
	out := l.out[:0]
	if f.fresh {
		out = append(out, '\n') // ends what a crash left half written
		f.fresh = false
	}
	for i := range list {
		e, at := &list[i].e, len(out)
		f.last = max(f.last+1, e.Time.UnixNano())
		e.Seq, e.Node = f.last, l.cfg.Node
		if len(e.Detail) > maxDetail {
			e.Detail = strings.ToValidUTF8(e.Detail[:maxDetail], "") + "…"
		}
		if out = appendLine(out, e); len(out)-at > maxLine {
			out = out[:at]
		}
	}
	l.out = out
	if f.size > 0 && (f.size+int64(len(out)) > l.cfg.Bytes/2 || l.cfg.Now().Sub(f.begun) > l.cfg.Keep/2) {
		if err := os.Rename(l.path(realm, "1"), l.path(realm, "0")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f.size = 0
	}
	if f.size == 0 {
		f.begun = l.cfg.Now()
	}
	w, err := os.OpenFile(l.path(realm, "1"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	n, err := w.Write(out)
	f.size += int64(n)
	return errors.Join(err, w.Close())
}

// look reads where a realm's newer file stands, after a start.
func (l *Log) look(realm string) *realmFile {
	f := &realmFile{fresh: true}
	for _, which := range []string{"0", "1"} {
		f.size = 0
		l.each(realm, which, func(e api.Event, size int64) {
			if f.size == 0 {
				f.begun = e.Time
			}
			f.size += size
			f.last = max(f.last, e.Seq)
		})
	}
	return f
}

// each calls fn with every event of a file and the bytes it takes. A line that
// is none, such as the last one before a crash, is passed over.
func (l *Log) each(realm, which string, fn func(e api.Event, size int64)) {
	f, err := os.Open(l.path(realm, which))
	if err != nil {
		return
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		b, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return
		}
		var v line
		if json.Unmarshal(b, &v) == nil && v.V == version {
			fn(v.Event, int64(len(b)))
		}
	}
}

// Read returns up to max events of these realms from since on, with a number
// above after, in order; more says that there are others.
func (l *Log) Read(realms []string, since time.Time, after int64, max int) (out []api.Event, more bool) {
	if old := l.cfg.Now().Add(-l.cfg.Keep); since.Before(old) {
		since = old
	}
	l.files.Lock()
	defer l.files.Unlock()
	l.flushFilesLocked()
	for _, realm := range realms {
		if f := l.realm[realm]; realm != "" && !safe.MatchString(realm) || f != nil && f.last <= after {
			continue
		}
		n := 0
		for _, which := range []string{"0", "1"} {
			l.each(realm, which, func(e api.Event, _ int64) {
				if e.Seq > after && !e.Time.Before(since) && n <= max { // one more than asked for, to know of more
					out = append(out, e)
					n++
				}
			})
		}
	}
	slices.SortStableFunc(out, func(a, b api.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	if len(out) > max {
		out, more = out[:max], true
	}
	return out, more
}

// Drop forgets a realm's events.
func (l *Log) Drop(realm string) {
	l.files.Lock()
	defer l.files.Unlock()
	l.flushFilesLocked()
	delete(l.realm, realm)
	os.Remove(l.path(realm, "0"))
	os.Remove(l.path(realm, "1"))
}

// clean removes files in which nothing is young enough.
func (l *Log) clean() {
	l.files.Lock()
	defer l.files.Unlock()
	list, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return
	}
	for _, d := range list {
		if i, err := d.Info(); err == nil && l.cfg.Now().Sub(i.ModTime()) > l.cfg.Keep {
			os.Remove(filepath.Join(l.cfg.Dir, d.Name()))
			delete(l.realm, strings.TrimSuffix(strings.TrimSuffix(d.Name(), ".1"), ".0"))
		}
	}
}

// Merge orders the events of several nodes by their clocks, and keeps each node's
// own order whatever its clock did.
func Merge(lists ...[]api.Event) (out []api.Event) {
	lists = slices.Clone(lists)
	for {
		best := -1
		for i, l := range lists {
			if len(l) > 0 && (best < 0 || l[0].Time.Before(lists[best][0].Time)) {
				best = i
			}
		}
		if best < 0 {
			return out
		}
		out = append(out, lists[best][0])
		lists[best] = lists[best][1:]
	}
}
