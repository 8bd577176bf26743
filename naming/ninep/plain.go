package ninep

// The messages of 9P2000.L. Requests and answers of the same shape share a type;
// shapes says which message has which.

type empty struct{}

func (*empty) code(*coder) {}

type version struct {
	Msize   uint32
	Version string
}

func (m *version) code(c *coder) { c.u32(&m.Msize); c.str(&m.Version) }

type lerror struct{ Errno uint32 }

func (m *lerror) code(c *coder) { c.u32(&m.Errno) }

type auth struct {
	Afid         uint32
	Uname, Aname string
	UID          uint32
}

func (m *auth) code(c *coder) { c.u32(&m.Afid); c.str(&m.Uname); c.str(&m.Aname); c.u32(&m.UID) }

type attach struct {
	Fid, Afid    uint32
	Uname, Aname string
	UID          uint32
}

func (m *attach) code(c *coder) {
	c.u32(&m.Fid)
	c.u32(&m.Afid)
	c.str(&m.Uname)
	c.str(&m.Aname)
	c.u32(&m.UID)
}

type flush struct{ Old uint16 }

func (m *flush) code(c *coder) { c.u16(&m.Old) }

type walk struct {
	Fid, NewFid uint32
	Names       []string
}

func (m *walk) code(c *coder) { c.u32(&m.Fid); c.u32(&m.NewFid); c.names(&m.Names, maxPlainWalk) }

type rwalk struct{ Qids []qid }

func (m *rwalk) code(c *coder) {
	n := uint16(len(m.Qids))
	c.u16(&n)
	if n > maxPlainWalk {
		c.bad = true
		return
	}
	if !c.write {
		m.Qids = make([]qid, n)
	}
	for i := range m.Qids {
		c.qid(&m.Qids[i])
	}
}

type rqid struct{ Qid qid }

func (m *rqid) code(c *coder) { c.qid(&m.Qid) }

// onFid is a request that has nothing but a fid.
type onFid struct{ Fid uint32 }

func (m *onFid) code(c *coder) { c.u32(&m.Fid) }

type (
	clunk    struct{ onFid }
	remove   struct{ onFid }
	statfs   struct{ onFid }
	readlink struct{ onFid }
)

type lopen struct{ Fid, Flags uint32 }

func (m *lopen) code(c *coder) { c.u32(&m.Fid); c.u32(&m.Flags) }

type opened struct {
	Qid    qid
	Iounit uint32
}

func (m *opened) code(c *coder) { c.qid(&m.Qid); c.u32(&m.Iounit) }

type lcreate struct {
	Fid              uint32
	Name             string
	Flags, Mode, Gid uint32
}

func (m *lcreate) code(c *coder) {
	c.u32(&m.Fid)
	c.str(&m.Name)
	c.u32(&m.Flags)
	c.u32(&m.Mode)
	c.u32(&m.Gid)
}

type symlink struct {
	Dir          uint32
	Name, Target string
	Gid          uint32
}

func (m *symlink) code(c *coder) { c.u32(&m.Dir); c.str(&m.Name); c.str(&m.Target); c.u32(&m.Gid) }

type mknod struct {
	Dir                     uint32
	Name                    string
	Mode, Major, Minor, Gid uint32
}

func (m *mknod) code(c *coder) {
	c.u32(&m.Dir)
	c.str(&m.Name)
	c.u32(&m.Mode)
	c.u32(&m.Major)
	c.u32(&m.Minor)
	c.u32(&m.Gid)
}

type mkdir struct {
	Dir       uint32
	Name      string
	Mode, Gid uint32
}

func (m *mkdir) code(c *coder) { c.u32(&m.Dir); c.str(&m.Name); c.u32(&m.Mode); c.u32(&m.Gid) }

type link struct {
	Dir, Fid uint32
	Name     string
}

func (m *link) code(c *coder) { c.u32(&m.Dir); c.u32(&m.Fid); c.str(&m.Name) }

type rename struct {
	Fid, Dir uint32
	Name     string
}

func (m *rename) code(c *coder) { c.u32(&m.Fid); c.u32(&m.Dir); c.str(&m.Name) }

type renameat struct {
	OldDir  uint32
	OldName string
	NewDir  uint32
	NewName string
}

func (m *renameat) code(c *coder) {
	c.u32(&m.OldDir)
	c.str(&m.OldName)
	c.u32(&m.NewDir)
	c.str(&m.NewName)
}

type unlinkat struct {
	Dir   uint32
	Name  string
	Flags uint32
}

func (m *unlinkat) code(c *coder) { c.u32(&m.Dir); c.str(&m.Name); c.u32(&m.Flags) }

type rreadlink struct{ Target string }

func (m *rreadlink) code(c *coder) { c.str(&m.Target) }
