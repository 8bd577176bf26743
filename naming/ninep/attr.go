package ninep

import (
	"math"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// opened notes that f tells the attributes of the file with this key, also when
// its entry is gone.
func (s *server) opened(f *fid, key uint64) {
	if _, ok := f.handle.(tree.Attrs); ok {
		s.mu.Lock()
		f.key = key
		s.opens[key] = f
		s.mu.Unlock()
	}
}

// attr is what the fid of r shows. A plain client asks for the attributes of a
// file that was removed while it is open through any of its fids.
func (r *request) attr() (tree.Attr, error) {
	f := r.fid[0]
	if h, ok := f.handle.(tree.Attrs); ok {
		return h.Attr(r.ctx)
	}
	a, err := f.place.file.Attr(r.ctx)
	if h := r.removed(err); h != nil {
		if b, err := h.Attr(r.ctx); err == nil {
			return b, nil
		}
	}
	return a, err
}

func (r *request) setAttr(set tree.SetAttr) (tree.Attr, error) {
	f := r.fid[0]
	if h, ok := f.handle.(tree.Attrs); ok {
		return h.SetAttr(r.ctx, set)
	}
	a, err := f.place.file.SetAttr(r.ctx, set)
	if h := r.removed(err); h != nil {
		return h.SetAttr(r.ctx, set)
	}
	return a, err
}

// removed returns a handle of the file, if err says that its entry is gone. It
// may be closed at any time and then fails.
func (r *request) removed(err error) tree.Attrs {
	if api.KindOf(err) != api.NotFound {
		return nil
	}
	p := r.fid[0].place
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if f := r.s.opens[p.id^p.salt]; f != nil {
		h, _ := f.handle.(tree.Attrs)
		return h
	}
	return nil
}

const (
	validBasic       = 0x7ff // mode, links, owner, times, number, size, blocks
	validDataVersion = 0x2000
	blockSize        = 4096
)

func (m *getattr) fids() uses { return share(m.Fid) }

func (m *getattr) run(r *request) (message, error) {
	a, err := r.attr()
	if err != nil {
		return nil, err
	}
	t := stamp{Sec: uint64(a.Modified.Unix()), Nsec: uint64(a.Modified.Nanosecond())}
	return &rgetattr{
		Valid: validBasic | validDataVersion, Qid: qidOf(a, r.fid[0].place.salt), Mode: a.Mode, UID: UID(a.Owner),
		Links: uint64(a.Links), Size: uint64(a.Size), BlockSize: uint64(r.s.iounit()), Blocks: (uint64(a.Size) + 511) / 512,
		Atime: t, Mtime: t, Ctime: t, DataVersion: a.Version,
	}, nil
}

func (m *setattr) fids() uses { return share(m.Fid) }

// run changes what there is to change. Owners are names here, and no number of
// the client's machine is one: who gives a file to a number is told yes, as on
// any file system that does not keep owners, and nothing happens. Times of
// access are not kept either.
func (m *setattr) run(r *request) (message, error) {
	var set tree.SetAttr
	any := false
	if m.Valid&setMode != 0 {
		perm := m.Mode & tree.ModePerm
		set.Perm, any = &perm, true
	}
	if m.Valid&setSize != 0 {
		if m.Size > math.MaxInt64 {
			return nil, api.E(api.TooLarge, "truncate", "", "no file has %d bytes", m.Size)
		}
		size := int64(m.Size)
		set.Size, any = &size, true
	}
	if m.Valid&setMtime != 0 {
		t := time.Now()
		if m.Valid&setMtimeSet != 0 {
			if m.Mtime.Nsec >= 1e9 {
				return nil, bad("setattr", "a second has no %d nanoseconds", m.Mtime.Nsec)
			}
			t = time.Unix(int64(m.Mtime.Sec), int64(m.Mtime.Nsec))
		}
		set.Modified, any = &t, true
	}
	if !any {
		_, err := r.attr()
		return &empty{}, err
	}
	_, err := r.setAttr(set)
	return &empty{}, err
}

const magic = 0x01021997 // of v9fs

func (m *statfs) fids() uses { return share(m.Fid) }

// run tells of 1 TiB and a million files where the tree does not count: tools
// look whether there is room before they write.
func (m *statfs) run(r *request) (message, error) {
	sp := tree.Space{Bytes: 1 << 40, FreeBytes: 1 << 40, Files: 1 << 20, FreeFiles: 1 << 20}
	if f, ok := r.fid[0].place.file.(tree.Spacer); ok {
		var err error
		if sp, err = f.Space(r.ctx); err != nil {
			return nil, err
		}
	}
	free := uint64(max(0, sp.FreeBytes)) / blockSize
	return &rstatfs{
		Type: magic, BlockSize: blockSize, Blocks: uint64(max(0, sp.Bytes)) / blockSize, BlocksFree: free, Avail: free,
		Files: uint64(max(0, sp.Files)), FilesFree: uint64(max(0, sp.FreeFiles)), NameLen: tree.MaxName,
	}, nil
}
