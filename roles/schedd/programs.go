package schedd

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
)

const (
	maxProgram   = 2 << 30
	maxUploads   = 64 // under way, per node
	uploadIdle   = time.Minute
	maxNameBytes = 64
	keptFree     = 64 << 20 // of the disk, for what must be written
)

// programs is the realms' /bin: names that point to digests in the node's
// store. An upload goes through a temporary file so that half of one is never
// seen.
type programs struct {
	store *binfs.Store

	mu      sync.Mutex
	names   map[string]map[string]api.Program // realm id → name; loaded when first used
	uploads map[string]*upload
}

type upload struct {
	realm string
	begin api.PutBegin
	file  *os.File
	size  int64
	last  time.Time
}

func newPrograms(st *binfs.Store) *programs {
	return &programs{store: st, names: make(map[string]map[string]api.Program), uploads: make(map[string]*upload)}
}

func (g *programs) indexPath(realm string) string {
	return filepath.Join(g.store.Dir(), realm+".bin.json")
}

// binLocked returns the realm's names. An index that cannot be read is empty:
// the programs are still there by digest and the next upload writes it anew.
func (g *programs) binLocked(realm string) map[string]api.Program {
	if m := g.names[realm]; m != nil {
		return m
	}
	m := make(map[string]api.Program)
	if b, err := os.ReadFile(g.indexPath(realm)); err == nil {
		var list []api.Program
		if json.Unmarshal(b, &list) == nil {
			for _, p := range list {
				m[p.Name] = p
			}
		}
	}
	g.names[realm] = m
	return m
}

// resolve pins a path or digest.
func (g *programs) resolve(realm, path string) (api.Program, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name, ok := strings.CutPrefix(path, "/bin/") // as a rule, and no digest begins so
	if !ok {
		if d, err := binfs.ParseDigest(path); err == nil {
			return g.byDigestLocked(realm, d)
		}
		if strings.Contains(path, "/") {
			return api.Program{}, api.E(api.NotFound, "spawn", short(path), "no such program; programs are at /bin/NAME (sigmactl programs lists them)")
		}
		name = path
	}
	p, ok := g.binLocked(realm)[name]
	if !ok {
		return p, api.E(api.NotFound, "spawn", short(path), "no such program in the realm's /bin; upload it (sigmactl run ./prog) or see sigmactl programs")
	}
	return p, nil
}

func (g *programs) byDigestLocked(realm string, d binfs.Digest) (api.Program, error) {
	for _, p := range g.binLocked(realm) {
		if p.Digest == string(d) {
			return p, nil
		}
	}
	if !g.store.Has(realm, d) {
		return api.Program{}, api.E(api.NotFound, "spawn", string(d), "no program with this digest in the realm; upload it (sigmactl run ./prog)")
	}
	return api.Program{Name: "proc", Digest: string(d)}, nil
}

// Program says what a path or digest means on this node.
func (s *Schedd) Program(realm, path string) (api.Program, error) {
	return s.programs.resolve(realm, path)
}

// program is Program, and looks into the realm's name space and asks the other
// nodes for what is not here.
func (s *Schedd) program(c api.Caller, path string) (api.Program, error) {
	realm := c.Realm
	if s.cfg.PathProgram != nil && strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/bin/") && len(path) <= 4096 {
		p, err := s.cfg.PathProgram(c, path)
		if api.KindOf(err) == api.NotFound {
			err = api.E(api.NotFound, "spawn", short(path), "no such program; programs are at /bin/NAME (sigmactl programs lists them), or any file of the realm")
		}
		return p, err
	}
	p, err := s.programs.resolve(realm, path)
	if err != nil && api.KindOf(err) == api.NotFound && s.cfg.FindProgram != nil && len(path) <= 4096 {
		if q, ok := s.cfg.FindProgram(realm, path); ok {
			return q, nil
		}
	}
	return p, err
}

func short(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return fmt.Sprintf("%q", s)
}

func (g *programs) list(realm string) []api.Program {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := []api.Program{}
	for _, p := range g.binLocked(realm) {
		out = append(out, p)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// link makes name point to digest.
func (g *programs) linkLocked(realm string, p api.Program) error {
	if p.Name == "" {
		return nil
	}
	m := g.binLocked(realm)
	if m[p.Name] == p {
		return nil
	}
	m[p.Name] = p
	list := make([]api.Program, 0, len(m))
	for _, q := range m {
		list = append(list, q)
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	tmp := g.indexPath(realm) + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err == nil {
		err = os.Rename(tmp, g.indexPath(realm))
		if err == nil {
			return nil
		}
	}
	os.Remove(tmp)
	return api.E(api.Unavailable, "upload", p.Name, "the program is stored, its name is not: %v", err)
}

func (g *programs) begin(realm string, b api.PutBegin) (api.PutState, error) {
	bad := func(format string, args ...any) (api.PutState, error) {
		return api.PutState{}, api.E(api.Invalid, "upload", short(b.Name), format, args...)
	}
	if len(b.Name) > maxNameBytes || strings.ContainsAny(b.Name, "/\x00\n") || b.Name == "." || b.Name == ".." {
		return bad("a program's name is at most %d bytes without / and control bytes", maxNameBytes)
	}
	d, err := binfs.ParseDigest(b.Digest)
	if err != nil {
		return bad("%v", err)
	}
	if b.Size <= 0 || b.Size > maxProgram {
		return bad("%d bytes; a program has 1 to %d", b.Size, int64(maxProgram))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store.Has(realm, d) {
		return api.PutState{Known: true}, g.linkLocked(realm, api.Program(b))
	}
	for id, u := range g.uploads {
		if time.Since(u.last) > uploadIdle {
			u.drop()
			delete(g.uploads, id)
		}
	}
	if left := diskLeft(g.store.Dir()); left-b.Size < keptFree {
		return api.PutState{}, api.E(api.Unavailable, "upload", short(b.Name), "the disk of the node has %s left, of which %s are kept; free some space in %s",
			size(left), size(keptFree), g.store.Dir())
	}
	if len(g.uploads) >= maxUploads {
		return api.PutState{}, api.E(api.Busy, "upload", b.Name, "%d uploads are under way; try again", maxUploads)
	}
	f, err := os.CreateTemp(g.store.Dir(), "upload-*")
	if err != nil {
		return api.PutState{}, api.E(api.Unavailable, "upload", b.Name, "%v", err)
	}
	var id [12]byte
	rand.Read(id[:])
	key := hex.EncodeToString(id[:])
	g.uploads[key] = &upload{realm: realm, begin: b, file: f, last: time.Now()}
	return api.PutState{Upload: key}, nil
}

// diskLeft is the space that is left below dir, bytes.
func diskLeft(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return math.MaxInt64 // the write will say
	}
	return int64(st.Bavail) * st.Bsize
}

func (u *upload) drop() {
	u.file.Close()
	os.Remove(u.file.Name())
}

func (g *programs) take(realm, key string) (*upload, error) {
	u := g.uploads[key]
	if u == nil || u.realm != realm {
		return nil, api.E(api.NotFound, "upload", key, "no such upload; it may have been idle for over %v", uploadIdle)
	}
	return u, nil
}

func (g *programs) data(realm, key string, b []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	u, err := g.take(realm, key)
	if err != nil {
		return err
	}
	u.last = time.Now()
	if u.size += int64(len(b)); u.size > u.begin.Size {
		err = api.E(api.Invalid, "upload", u.begin.Name, "more than the %d bytes announced", u.begin.Size)
	} else if _, werr := u.file.Write(b); werr != nil {
		err = api.E(api.Unavailable, "upload", u.begin.Name, "%v (is the disk of the node full?)", werr)
	}
	if err != nil {
		u.drop()
		delete(g.uploads, key)
	}
	return err
}

// end checks what came and stores it.
func (g *programs) end(realm, key string) (api.Program, error) {
	g.mu.Lock()
	u, err := g.take(realm, key)
	if err == nil { // not another realm's
		delete(g.uploads, key)
	}
	g.mu.Unlock()
	if err != nil {
		return api.Program{}, err
	}
	defer u.drop()
	if u.size != u.begin.Size {
		return api.Program{}, api.E(api.Invalid, "upload", u.begin.Name, "%d bytes came, %d were announced", u.size, u.begin.Size)
	}
	if err := binfs.CheckELF(u.file, u.size, goruntime.GOARCH); err != nil {
		return api.Program{}, api.E(api.Invalid, "upload", u.begin.Name, "%v", err)
	}
	if _, err := u.file.Seek(0, io.SeekStart); err != nil {
		return api.Program{}, err
	}
	d, err := g.store.Put(realm, u.file, binfs.Digest(u.begin.Digest), maxProgram)
	if err != nil {
		return api.Program{}, api.E(api.Unavailable, "upload", u.begin.Name, "%v", err)
	}
	p := api.Program{Name: u.begin.Name, Digest: string(d), Size: u.size}
	g.mu.Lock()
	defer g.mu.Unlock()
	return p, g.linkLocked(realm, p)
}

func (g *programs) removeRealm(realm string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.names, realm)
	for key, u := range g.uploads {
		if u.realm == realm {
			u.drop()
			delete(g.uploads, key)
		}
	}
	err := os.Remove(g.indexPath(realm))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, g.store.RemoveRealm(realm))
}
