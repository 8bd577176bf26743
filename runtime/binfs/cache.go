package binfs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// remote is what the serving process asks for programs that the disk lacks.
type remote interface {
	open(ctx context.Context, realm string, d Digest) (v opened, from string, err error)
	chunks(ctx context.Context, realm string, d Digest, t Tree, list []uint32) (data []byte, from string, err error)
	learned(ctx context.Context, l Learned) error
}

// small programs of which no profile is known are fetched whole, in the one
// request that a profile would cost.
const small = maxAsked

// cache is the Source of the serving process: the programs stored here, what
// came from elsewhere earlier, and the rest of the cluster. Each chunk is fetched
// once however many wait for it, verified, and kept on the disk under the
// realm's quota.
type cache struct {
	*Store
	remote remote // nil: this disk is all there is
	quota  int64  // of a realm's cache, bytes
	log    *slog.Logger

	mu      sync.Mutex
	flights map[flightKey]*flight
	landing map[nodeKey]chan struct{} // closed when the disk has the program's tree
	cold    map[nodeKey]*Cold
	kept    map[string]*sync.Mutex // a realm's disk; one writer at a time
}

type flightKey struct {
	nodeKey
	chunk uint32
}

// flight is one chunk under way.
type flight struct {
	done chan struct{}
	data []byte
	err  error
}

// OwnDisk is where programs came from that the node's disk had.
const OwnDisk = "own disk"

// Cold tells how a program came into the node's page cache since the mount is
// there. What the disk had is not counted.
type Cold struct {
	From     string `json:"from"`   // who gave it last
	Looked   int64  `json:"looked"` // CLOCK_MONOTONIC, ns: when it was looked for first
	Took     int64  `json:"took"`   // ns that its first start waited for the network, in all
	Chunks   int64  `json:"chunks"`
	Bytes    int64  `json:"bytes"`
	Requests int64  `json:"requests"`
	Failed   int64  `json:"failed"` // CLOCK_MONOTONIC, ns: when a chunk could not be had last; 0: never

	asked int64 // likewise: when that was found out
	ended int64 // flights
	lost  bool  // the log has it that the disk does not keep all of it
}

func newCache(s *Store, r remote, quota int64, log *slog.Logger) *cache {
	return &cache{Store: s, remote: r, quota: quota, log: log,
		flights: make(map[flightKey]*flight), landing: make(map[nodeKey]chan struct{}), cold: make(map[nodeKey]*Cold), kept: make(map[string]*sync.Mutex)}
}

// Tree looks here, then elsewhere; with a tree from elsewhere come, in the same
// answer, the chunks that a start needs, and those that had no room in it are
// asked for at once.
func (c *cache) Tree(ctx context.Context, realm string, d Digest) (Tree, Profile, error) {
	t, err := c.anyTree(realm, d)
	if err == nil {
		looked := monotonic()
		c.note(realm, d, func(x *Cold) { x.Looked, x.From = looked, OwnDisk })
		return t, c.profile(realm, d).within(t).touches(t), nil
	}
	if c.remote == nil {
		return t, nil, err
	}
	looked, begin := monotonic(), time.Now()
	v, from, err := c.remote.open(ctx, realm, d)
	if err != nil {
		return t, nil, err
	}
	t = v.tree
	c.note(realm, d, func(x *Cold) {
		x.Looked, x.From, x.Took, x.Requests = looked, from, x.Took+int64(time.Since(begin)), x.Requests+1
		x.add(v.parts)
	})
	first := v.profile.touches(t)
	c.land(realm, d, v)
	for rest := first[len(v.list):]; len(rest) > 0; rest = rest[min(maxAsked, len(rest)):] {
		c.begin(realm, d, t, rest[:min(maxAsked, len(rest))])
	}
	return t, first, nil
}

// learn keeps the profile of a program on this disk, and tells where the program came
// from.
func (c *cache) learn(realm string, d Digest, p Profile) error {
	err := c.saveProfile(realm, d, p)
	if c.remote != nil && !c.Has(realm, d) {
		err = errors.Join(err, c.remote.learned(context.Background(), Learned{realm, string(d), p.Marshal()}))
	}
	return err
}

// land has what came with the tree at hand until it is on the disk.
func (c *cache) land(realm string, d Digest, v opened) {
	k, kept, here := nodeKey{realm, string(d)}, make(chan struct{}), make(chan struct{})
	close(here)
	c.mu.Lock()
	c.landing[k] = kept
	for n, i := range v.list {
		c.flights[flightKey{k, i}] = &flight{done: here, data: v.parts[n]}
	}
	c.mu.Unlock()
	go func() { // ends with the disk's writes
		if err := c.keepTree(realm, d, v.tree, v.profile); err != nil {
			c.notKept(realm, d, err)
		}
		close(kept)
		c.mu.Lock()
		if c.landing[k] == kept {
			delete(c.landing, k)
		}
		c.mu.Unlock()
		c.keepAll(realm, d, v.list, v.parts)
	}()
}

// Chunk returns verified bytes.
func (c *cache) Chunk(ctx context.Context, realm string, d Digest, t Tree, i int, buf []byte) ([]byte, error) {
	for {
		f, ended := c.flying(realm, d, i)
		if f != nil {
			return f.wait(ctx)
		}
		b, err := c.anyChunk(realm, d, t, i, buf)
		if err == nil || c.remote == nil {
			return b, err
		}
		if c.failing(realm, d) {
			return nil, errFailed
		}
		// One that ended since may have brought it: the disk is looked at again.
		if own := c.beginUnless(realm, d, t, []uint32{uint32(i)}, ended); own != nil {
			return own[0].wait(ctx)
		}
	}
}

// failTime is how long a program's chunks are not asked for when all that could
// be asked failed: the kernel reads again what it could not read, in smaller
// pieces, and who waits for a dead store should not wait for it several times.
const failTime = time.Second

var errFailed = errors.New("binfs: none of a program's sources gave right bytes a moment ago")

func (c *cache) failing(realm string, d Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, now := c.cold[nodeKey{realm, string(d)}], monotonic()
	if x == nil || x.asked == 0 || now-x.asked > int64(failTime) {
		return false
	}
	x.Failed = now
	return true
}

// ahead is a Source that wants to know what will be read next.
type ahead interface {
	ahead(realm string, d Digest, t Tree, first, last int)
}

// ahead has the chunks of one read that the disk lacks fetched in one request.
func (c *cache) ahead(realm string, d Digest, t Tree, first, last int) {
	if c.remote == nil || first == last || c.Has(realm, d) {
		return
	}
	var list []uint32
	buf := make([]byte, ChunkSize)
	for i := first; i <= last && len(list) < maxAsked; i++ {
		if f, _ := c.flying(realm, d, i); f != nil {
			continue
		}
		if _, err := c.anyChunk(realm, d, t, i, buf); err != nil {
			list = append(list, uint32(i))
		}
	}
	if len(list) > 1 {
		c.begin(realm, d, t, list)
	}
}

// flying is the flight of chunk i, and how many of the program have ended.
func (c *cache) flying(realm string, d Digest, i int) (f *flight, ended int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := nodeKey{realm, string(d)}
	if x := c.cold[k]; x != nil {
		ended = x.ended
	}
	return c.flights[flightKey{k, uint32(i)}], ended
}

func (f *flight) wait(ctx context.Context) ([]byte, error) {
	select {
	case <-f.done:
		return f.data, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// begin has the chunks of list fetched that are not under way yet, and returns
// the flight of each. The goroutine ends with the request, which is bounded.
func (c *cache) begin(realm string, d Digest, t Tree, list []uint32) []*flight {
	return c.beginUnless(realm, d, t, list, -1)
}

// beginUnless is begin, unless flights of the program have ended since there were
// so many; -1 for always.
func (c *cache) beginUnless(realm string, d Digest, t Tree, list []uint32, ended int64) []*flight {
	var mine []uint32
	var out, own []*flight
	c.mu.Lock()
	if x := c.cold[nodeKey{realm, string(d)}]; ended >= 0 && x != nil && x.ended != ended {
		c.mu.Unlock()
		return nil
	}
	for _, i := range list {
		k := flightKey{nodeKey{realm, string(d)}, i}
		f := c.flights[k]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			c.flights[k] = f
			mine, own = append(mine, i), append(own, f)
		}
		out = append(out, f)
	}
	c.mu.Unlock()
	if len(mine) > 0 {
		go c.fetch(realm, d, t, mine, own)
	}
	return out
}

func (c *cache) fetch(realm string, d Digest, t Tree, list []uint32, own []*flight) {
	begin := time.Now()
	data, from, err := c.remote.chunks(context.Background(), realm, d, t, list)
	var parts [][]byte
	if err == nil {
		parts, err = t.Split(list, data)
	}
	took := time.Since(begin)
	c.note(realm, d, func(x *Cold) {
		if err != nil {
			x.Failed = monotonic()
			x.asked = x.Failed
			return
		}
		x.From, x.Took, x.Requests = from, x.Took+int64(took), x.Requests+1
		x.add(parts)
	})
	for n, f := range own {
		if f.err = err; err == nil {
			f.data = parts[n]
		}
		close(f.done)
	}
	c.keepAll(realm, d, list, parts)
}

// keepAll ends the flights of list, once its parts are on the disk.
func (c *cache) keepAll(realm string, d Digest, list []uint32, parts [][]byte) {
	if len(parts) > 0 {
		c.mu.Lock()
		kept := c.landing[nodeKey{realm, string(d)}]
		c.mu.Unlock()
		if kept != nil {
			<-kept
		}
		if err := c.keep(realm, d, list, parts); err != nil {
			c.notKept(realm, d, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range list {
		delete(c.flights, flightKey{nodeKey{realm, string(d)}, i})
	}
	if x := c.cold[nodeKey{realm, string(d)}]; x != nil {
		x.ended++
	}
}

func (x *Cold) add(parts [][]byte) {
	x.Chunks += int64(len(parts))
	for _, p := range parts {
		x.Bytes += int64(len(p))
	}
}

// maxCold bounds what is told about programs.
const maxCold = 4096

func (c *cache) note(realm string, d Digest, fn func(*Cold)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := nodeKey{realm, string(d)}
	x := c.cold[k]
	if x == nil {
		if len(c.cold) >= maxCold {
			clear(c.cold)
		}
		x = &Cold{Looked: monotonic()}
		c.cold[k] = x
	}
	fn(x)
}

// coldOf is how a program came here; nil where nobody looked for it.
func (c *cache) coldOf(realm, digest string) *Cold {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.cold[nodeKey{realm, digest}]; x != nil {
		y := *x
		return &y
	}
	return nil
}

// allCold is coldOf of all programs of a realm, by digest.
func (c *cache) allCold(realm string) map[string]Cold {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]Cold)
	for k, x := range c.cold {
		if k.realm == realm {
			out[k.digest] = *x
		}
	}
	return out
}
