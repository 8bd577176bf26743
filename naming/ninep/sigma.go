package ninep

import (
	"time"

	"sigmaos/naming/tree"
)

// The messages of σ's additions.

type serror struct {
	Errno                   uint32
	Kind, Op, Subject, Text string
}

func (m *serror) code(c *coder) {
	c.u32(&m.Errno)
	c.str(&m.Kind)
	c.str(&m.Op)
	c.str(&m.Subject)
	c.str(&m.Text)
}

type sattach struct {
	Fid    uint32
	Path   string
	Fenced bool
	Fence  tree.Fence
}

func (m *sattach) code(c *coder) {
	c.u32(&m.Fid)
	c.str(&m.Path)
	c.flag(&m.Fenced)
	c.str(&m.Fence.Path)
	c.u64(&m.Fence.Epoch)
}

// Ways in which an operation by path ends.
const (
	stopDone  = 0
	stopLink  = 1 // at a link: Names are consumed, Attr is the link's, nothing was done
	stopLarge = 2 // Rsget: the content is larger than was asked for and not here
)

// walked is how an operation by path ended: the answer to most of them, and the
// head of the others.
type walked struct {
	Stop  uint8
	Names uint16 // consumed
	Attr  tree.Attr
}

func (m *walked) code(c *coder) {
	c.u8(&m.Stop)
	c.u16(&m.Names)
	c.attr(&m.Attr)
	c.bad = c.bad || m.Stop > stopLarge
}

// path is a place below a fid.
type path struct {
	Fid   uint32
	Names []string
}

func (m *path) code(c *coder) { c.u32(&m.Fid); c.names(&m.Names, maxNames) }

type sstat struct{ path }

type swalk struct {
	path
	NewFid uint32
}

func (m *swalk) code(c *coder) { m.path.code(c); c.u32(&m.NewFid) }

type sget struct {
	path
	Max uint32
}

func (m *sget) code(c *coder) { m.path.code(c); c.u32(&m.Max) }

type rsget struct {
	walked
	Data []byte
}

func (m *rsget) code(c *coder) { m.walked.code(c); c.data(&m.Data) }

func (c *coder) newFile(n *tree.NewFile) {
	c.u32(&n.Mode)
	c.flag(&n.Exclusive)
	c.flag(&n.Published)
	c.str(&n.Target)
	c.str(&n.Lease)
}

type sput struct {
	path
	Put tree.Put
}

func (m *sput) code(c *coder) {
	m.path.code(c)
	p := &m.Put
	c.newFile(&p.NewFile)
	c.flag(&p.Create)
	c.flag(&p.Append)
	when := p.If != nil
	c.flag(&when)
	var v uint64
	if p.If != nil {
		v = *p.If
	}
	c.u64(&v)
	if p.If = nil; when {
		p.If = &v
	}
	c.bad = c.bad || !when && v != 0
	c.str(&p.NoReplay)
	c.data(&p.Data)
}

// Bits of a mode in Tsopen and Tscreate; a Tscreate with 0 does not open.
const (
	openRead     = 1
	openWrite    = 2
	openAppend   = 4
	openTruncate = 8
)

type screate struct {
	path
	NewFid uint32
	New    tree.NewFile
	Open   uint8
}

func (m *screate) code(c *coder) {
	m.path.code(c)
	c.u32(&m.NewFid)
	c.newFile(&m.New)
	c.u8(&m.Open)
	c.bad = c.bad || m.Open > 15
}

type sopen struct {
	path
	NewFid uint32
	Open   uint8
	Want   bool // a descriptor, where there is one
}

func (m *sopen) code(c *coder) {
	m.path.code(c)
	c.u32(&m.NewFid)
	c.u8(&m.Open)
	c.flag(&m.Want)
	c.bad = c.bad || m.Open > 15
}

// ropened answers Tsopen and Tscreate. Whether a descriptor comes with it stands
// first, where a reader finds it without knowing the rest.
type ropened struct {
	Descriptor bool
	walked
	Iounit uint32
}

func (m *ropened) code(c *coder) { c.flag(&m.Descriptor); m.walked.code(c); c.u32(&m.Iounit) }

type sremove struct {
	path
	Dir bool
}

func (m *sremove) code(c *coder) { m.path.code(c); c.flag(&m.Dir) }

type srename struct{ From, To path }

func (m *srename) code(c *coder) { m.From.code(c); m.To.code(c) }

// rsrename says of which path the walk is told.
type rsrename struct {
	Second bool
	walked
}

func (m *rsrename) code(c *coder) { c.flag(&m.Second); m.walked.code(c) }

type ssetattr struct {
	path
	Set tree.SetAttr
}

func (m *ssetattr) code(c *coder) {
	m.path.code(c)
	s := &m.Set
	optional(c, &s.Perm, c.u32)
	optional(c, &s.Owner, c.str)
	optional(c, &s.Size, c.i64)
	optional[time.Time](c, &s.Modified, c.time)
}

// optional is a flag and, if that is 1, the value.
func optional[T any](c *coder, v **T, code func(*T)) {
	is := *v != nil
	c.flag(&is)
	if !is || c.bad {
		return
	}
	if !c.write {
		*v = new(T)
	}
	code(*v)
}
