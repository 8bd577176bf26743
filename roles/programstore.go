package roles

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/s3"
	"sigmaos/naming/tree"
	"sigmaos/runtime/binfs"
)

// besideStore has the role s3 compute what a start needs of programs that are
// written through it.
func besideStore(first []byte) s3.Beside {
	if string(first[:4]) != "\x7fELF" {
		return nil
	}
	return new(besideSum)
}

type besideSum struct{ binfs.Summer }

func (b *besideSum) Sum(version uint64) []byte {
	return binfs.Beside{Version: version, Opening: b.Opening()}.Marshal()
}

// maxPlaces bounds the programs in stores that a node knows the place of.
const maxPlaces = 256

// inStores are the programs of which this node knows that they lie in an object
// store of their realm, and where.
type inStores struct {
	ways *ways
	most int // bytes of chunks that are kept in memory, of all

	mu     sync.Mutex
	closed bool
	places map[realmDigest]*storeOrigin
}

type realmDigest struct {
	realm  string
	digest binfs.Digest
}

func (i *inStores) at(realm string, d binfs.Digest) *storeOrigin {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.places[realmDigest{realm, d}]
}

// add takes f over, which is what is at o's place.
func (i *inStores) add(realm string, d binfs.Digest, o *storeOrigin, f *openFile) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		f.close()
		return
	}
	if i.places == nil || len(i.places) >= maxPlaces {
		i.dropLocked()
		i.places = make(map[realmDigest]*storeOrigin)
	}
	if old := i.places[realmDigest{realm, d}]; old != nil {
		old.rest()
	}
	i.places[realmDigest{realm, d}] = o
	o.mu.Lock()
	o.bound = i.bound
	o.mu.Unlock()
	i.boundLocked(o)
	o.put(f)
}

// bound is for an origin that has got more chunks.
func (i *inStores) bound(last *storeOrigin) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.boundLocked(last)
}

// maxStarts bounds the chunks that a node keeps in memory of programs in stores.
const maxStarts = 32 << 20

// boundLocked has the others give up their chunks, which a start then reads from
// the store, where all are too many.
func (i *inStores) boundLocked(last *storeOrigin) {
	n := 0
	for _, o := range i.places {
		n += len(o.start().Data)
	}
	if n <= i.most {
		return
	}
	for _, o := range i.places {
		if o != last {
			o.drop()
		}
	}
}

func (i *inStores) dropLocked() {
	for _, o := range i.places {
		o.rest()
	}
	i.places = nil
}

func (i *inStores) close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	i.dropLocked()
	return nil
}

// storeOrigin is a program in its realm's object store: its chunks are read from
// there by range, as whoever spawned it may, and with the realm's key, which only
// the role s3 knows.
type storeOrigin struct {
	ways *ways
	c    api.Caller
	path string
	key  publishedKey
	kept uint64 // the version of what is kept beside it

	mu      sync.Mutex
	bound   func(*storeOrigin) // to be called without mu where opening has grown
	opening binfs.Opening
	gone    bool        // nothing is kept open any more
	file    *openFile   // between requests that follow each other; nil: none
	idle    *time.Timer // closes it
}

// restTime is how long a file stays open behind its last request.
const restTime = 5 * time.Second

func (o *storeOrigin) Name() string { return o.path }

func (o *storeOrigin) Open(context.Context, string, binfs.Digest) (binfs.Opening, error) {
	return o.start(), nil
}

func (o *storeOrigin) start() binfs.Opening {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.opening
}

// drop gives up the chunks of a start.
func (o *storeOrigin) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opening.Data = nil
}

// Learn writes what a start touches beside the program, with those chunks, so that
// whoever starts it next has all with one request. Somebody who was faster, or put
// another program there, is left alone.
func (o *storeOrigin) Learn(ctx context.Context, realm string, d binfs.Digest, p binfs.Profile) error {
	old := o.start()
	if len(old.Profile) > 0 {
		return nil
	}
	next, err := old.Learn(d, p, func(list []uint32) ([]byte, error) { return o.Chunks(ctx, realm, d, list) })
	if err != nil {
		return err
	}
	f, err := o.get(ctx)
	if err != nil {
		return err
	}
	put := tree.Put{
		NewFile: tree.NewFile{Mode: tree.ModeFile | 0o664}, If: &o.kept,
		Data: binfs.Beside{Version: o.key.version, Opening: next}.Marshal(),
	}
	_, err = f.at.Root.Put(ctx, put, besideAt(f.names)...)
	if k := api.KindOf(err); err != nil && k != api.Conflict && k != api.NotFound {
		f.close()
		return err
	}
	o.put(f)
	o.mu.Lock()
	o.opening = next
	bound := o.bound
	o.mu.Unlock()
	if bound != nil {
		bound(o)
	}
	return nil
}

// get takes the file that is open, or opens it. The caller puts it back or closes
// it.
func (o *storeOrigin) get(ctx context.Context) (*openFile, error) {
	o.mu.Lock()
	f := o.file
	o.file = nil
	if f != nil {
		o.idle.Stop()
	}
	o.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f, err := o.ways.open(ctx, o.c, o.path, nil)
	if err == nil && keyOf(o.c.Realm, o.path, f.attr) != o.key {
		f.close()
		return nil, api.E(api.Conflict, "read", o.path, "there is another version now than the one that was spawned")
	}
	return f, err
}

// put keeps f open for a while.
func (o *storeOrigin) put(f *openFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone || o.file != nil {
		f.close()
		return
	}
	o.file = f
	o.idle = time.AfterFunc(restTime, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.file == f {
			o.file = nil
			f.close()
		}
	})
}

// rest closes what is open, for good.
func (o *storeOrigin) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = true
	if o.file != nil {
		o.idle.Stop()
		o.file.close()
		o.file = nil
	}
}

// Chunks reads those that follow each other at once.
func (o *storeOrigin) Chunks(ctx context.Context, _ string, _ binfs.Digest, list []uint32) (out []byte, err error) {
	f, err := o.get(ctx)
	if err != nil {
		return nil, err
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n] == list[0]+uint32(n) {
			n++
		}
		off := int64(list[0]) * binfs.ChunkSize
		b := make([]byte, max(0, min(int64(n)*binfs.ChunkSize, o.key.size-off)))
		if _, err := (handleReader{ctx, f.h}).ReadAt(b, off); err != nil {
			f.close()
			return nil, err
		}
		out, list = append(out, b...), list[n:]
	}
	o.put(f)
	return out, nil
}

// give answers another node.
func (o *storeOrigin) give(ctx context.Context, q binfs.Question) ([]byte, error) {
	if len(q.Chunks) == 0 {
		return o.start().Part(q), nil
	}
	return o.Chunks(ctx, q.Realm, binfs.Digest(q.Digest), q.Chunks)
}

// maxBeside is the longest record beside a program: the tree of 4 GiB and a first
// chunk. With more chunks it is no longer than what comes in one answer.
const maxBeside = 3 << 20

// besideReader reads what a store keeps beside an object, while the object is being
// opened: neither needs the other.
type besideReader struct {
	ctx  context.Context
	path string
	done chan struct{} // nil: nothing is kept there

	kept    binfs.Beside
	version uint64 // of the record itself
	ok      bool
	err     error
}

// begin is told where the object is; of several places the last one counts.
func (b *besideReader) begin(at *pathServer, names []string) {
	b.wait()
	names = besideAt(names)
	if !strings.HasPrefix(b.path, "/s3/") || names == nil {
		b.done = nil
		return
	}
	b.ok, b.err, b.done = false, nil, make(chan struct{})
	go func() { // ends with ctx
		defer close(b.done)
		data, w, err := at.Root.Get(b.ctx, maxBeside, names...)
		switch {
		case api.KindOf(err) == api.NotFound || err == nil && w.Link:
		case err != nil:
			b.err = err
		default:
			if b.kept, err = binfs.UnmarshalBeside(data); err != nil {
				b.err = api.E(api.Unavailable, "spawn", b.path, "the store gives damaged bytes of what it keeps beside the program; try again, or put the program anew")
			}
			b.version, b.ok = w.Attr.Version, err == nil
		}
	}()
}

func (b *besideReader) wait() {
	if b.done != nil {
		<-b.done
	}
}

// of says what is kept beside f; ok is false where that is nothing, or about another
// version.
func (b *besideReader) of(f *openFile) (o binfs.Opening, ok bool, err error) {
	if b.done == nil {
		b.begin(f.at, f.names)
	}
	b.wait()
	return b.kept.Opening, b.ok && b.kept.Version == f.attr.Version, b.err
}

// besideAt is where the record is; nil for what is in no bucket.
func besideAt(names []string) []string {
	if len(names) < 2 {
		return nil
	}
	key := names[1]
	for _, n := range names[2:] {
		key += "/" + n
	}
	return []string{names[0], s3.Besides, s3.BesideName(key)}
}

// openingReader reads what is at hand from there, the rest from the file.
type openingReader struct {
	o    binfs.Opening
	rest io.ReaderAt
}

func (r openingReader) ReadAt(b []byte, off int64) (int, error) {
	if first := r.o.First(); off >= 0 && off+int64(len(b)) <= int64(len(first)) {
		return copy(b, first[off:]), nil
	}
	n, err := r.rest.ReadAt(b, off)
	if err != nil {
		err = fmt.Errorf("reading it: %w", err)
	}
	return n, err
}
