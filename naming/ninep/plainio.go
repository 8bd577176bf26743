package ninep

// The messages of 9P2000.L about content, attributes and locks.

type (
	read    struct{ span }
	readdir struct{ span }
)

// span is what a Tread and a Treaddir say.
type span struct {
	Fid    uint32
	Offset uint64
	Count  uint32
}

func (m *span) code(c *coder) { c.u32(&m.Fid); c.u64(&m.Offset); c.u32(&m.Count) }

// rdata is an Rread or an Rreaddir.
type rdata struct{ Data []byte }

func (m *rdata) code(c *coder) { c.data(&m.Data) }

type write struct {
	Fid    uint32
	Offset uint64
	Data   []byte
}

func (m *write) code(c *coder) { c.u32(&m.Fid); c.u64(&m.Offset); c.data(&m.Data) }

// long is how many bytes m has as a message.
func (m *write) long() int { return 4 + 8 + 4 + len(m.Data) }

type rwrite struct{ Count uint32 }

func (m *rwrite) code(c *coder) { c.u32(&m.Count) }

// dirent is one entry in the data of an Rreaddir.
type dirent struct {
	Qid    qid
	Offset uint64 // of the entry behind it
	Type   uint8  // as in getdents
	Name   string
}

func (m *dirent) code(c *coder) { c.qid(&m.Qid); c.u64(&m.Offset); c.u8(&m.Type); c.str(&m.Name) }

// fsync has no second field in older clients.
type fsync struct{ Fid, DataOnly uint32 }

func (m *fsync) code(c *coder) {
	c.u32(&m.Fid)
	if c.write || len(c.b) > 0 {
		c.u32(&m.DataOnly)
	}
}

type getattr struct {
	Fid  uint32
	Mask uint64
}

func (m *getattr) code(c *coder) { c.u32(&m.Fid); c.u64(&m.Mask) }

type stamp struct{ Sec, Nsec uint64 }

func (c *coder) stamp(s *stamp) { c.u64(&s.Sec); c.u64(&s.Nsec) }

type rgetattr struct {
	Valid                      uint64
	Qid                        qid
	Mode, UID, GID             uint32
	Links, Rdev, Size          uint64
	BlockSize, Blocks          uint64
	Atime, Mtime, Ctime, Btime stamp
	Gen, DataVersion           uint64
}

func (m *rgetattr) code(c *coder) {
	c.u64(&m.Valid)
	c.qid(&m.Qid)
	for _, p := range []*uint32{&m.Mode, &m.UID, &m.GID} {
		c.u32(p)
	}
	for _, p := range []*uint64{&m.Links, &m.Rdev, &m.Size, &m.BlockSize, &m.Blocks} {
		c.u64(p)
	}
	for _, p := range []*stamp{&m.Atime, &m.Mtime, &m.Ctime, &m.Btime} {
		c.stamp(p)
	}
	c.u64(&m.Gen)
	c.u64(&m.DataVersion)
}

// Bits of a Tsetattr.
const (
	setMode     = 1 << 0
	setUID      = 1 << 1
	setGID      = 1 << 2
	setSize     = 1 << 3
	setAtime    = 1 << 4
	setMtime    = 1 << 5
	setCtime    = 1 << 6
	setAtimeSet = 1 << 7
	setMtimeSet = 1 << 8 // to the given time; without it, to now
)

type setattr struct {
	Fid, Valid, Mode, UID, GID uint32
	Size                       uint64
	Atime, Mtime               stamp
}

func (m *setattr) code(c *coder) {
	for _, p := range []*uint32{&m.Fid, &m.Valid, &m.Mode, &m.UID, &m.GID} {
		c.u32(p)
	}
	c.u64(&m.Size)
	c.stamp(&m.Atime)
	c.stamp(&m.Mtime)
}

type xattrwalk struct {
	Fid, NewFid uint32
	Name        string
}

func (m *xattrwalk) code(c *coder) { c.u32(&m.Fid); c.u32(&m.NewFid); c.str(&m.Name) }

type rxattrwalk struct{ Size uint64 }

func (m *rxattrwalk) code(c *coder) { c.u64(&m.Size) }

type xattrcreate struct {
	Fid   uint32
	Name  string
	Size  uint64
	Flags uint32
}

func (m *xattrcreate) code(c *coder) { c.u32(&m.Fid); c.str(&m.Name); c.u64(&m.Size); c.u32(&m.Flags) }

type lock struct {
	Fid           uint32
	Type          uint8
	Flags         uint32
	Start, Length uint64
	Proc          uint32
	Client        string
}

func (m *lock) code(c *coder) {
	c.u32(&m.Fid)
	c.u8(&m.Type)
	c.u32(&m.Flags)
	c.u64(&m.Start)
	c.u64(&m.Length)
	c.u32(&m.Proc)
	c.str(&m.Client)
}

type rlock struct{ Status uint8 }

func (m *rlock) code(c *coder) { c.u8(&m.Status) }

type getlock struct {
	Fid           uint32
	Type          uint8
	Start, Length uint64
	Proc          uint32
	Client        string
}

func (m *getlock) code(c *coder) { c.u32(&m.Fid); m.body(c) }

func (m *getlock) body(c *coder) {
	c.u8(&m.Type)
	c.u64(&m.Start)
	c.u64(&m.Length)
	c.u32(&m.Proc)
	c.str(&m.Client)
}

// rgetlock is a getlock without the fid.
type rgetlock struct{ getlock }

func (m *rgetlock) code(c *coder) { m.body(c) }

type rstatfs struct {
	Type, BlockSize           uint32
	Blocks, BlocksFree, Avail uint64
	Files, FilesFree, FSID    uint64
	NameLen                   uint32
}

func (m *rstatfs) code(c *coder) {
	c.u32(&m.Type)
	c.u32(&m.BlockSize)
	for _, p := range []*uint64{&m.Blocks, &m.BlocksFree, &m.Avail, &m.Files, &m.FilesFree, &m.FSID} {
		c.u64(p)
	}
	c.u32(&m.NameLen)
}
