package ninep

import "sigmaos/naming/tree"

type sreaddir struct {
	path
	After string
	Max   uint32
	Attrs bool
}

func (m *sreaddir) code(c *coder) {
	m.path.code(c)
	c.str(&m.After)
	c.u32(&m.Max)
	c.flag(&m.Attrs)
}

// Entry is an entry of a directory; Attr is nil where it was not asked for, or
// where the entry was gone before it could be looked at.
type Entry struct {
	tree.Dirent
	Attr *tree.Attr
}

func (c *coder) entry(e *Entry) {
	c.str(&e.Name)
	c.u64(&e.ID)
	c.u32(&e.Mode)
	optional(c, &e.Attr, c.attr)
}

type rsreaddir struct {
	walked
	End     bool // there are no more
	Entries []Entry
}

func (m *rsreaddir) code(c *coder) {
	m.walked.code(c)
	c.flag(&m.End)
	list(c, &m.Entries, 15, c.entry)
}

// list is two bytes of count and the items, none shorter than least when read.
func list[T any](c *coder, v *[]T, least int, code func(*T)) {
	n := uint16(len(*v))
	c.u16(&n)
	if !c.write {
		if c.bad || int(n)*least > len(c.b) {
			c.bad = true
			return
		}
		*v = make([]T, n)
	}
	for i := range *v {
		code(&(*v)[i])
	}
}

type swatch struct {
	Fid     uint32
	Version uint64
	Window  uint32 // events that may be on their way; 0 is any number
}

func (m *swatch) code(c *coder) { c.u32(&m.Fid); c.u64(&m.Version); c.u32(&m.Window) }

// sseen says that the watch with this tag may have so many more on their way.
type sseen struct {
	Tag    uint16
	Events uint32
}

func (m *sseen) code(c *coder) { c.u16(&m.Tag); c.u32(&m.Events) }

// rswatch is one of many answers; the last one is an error.
type rswatch struct {
	More   bool // the next answer belongs to this one: events of one version
	At     uint64
	Events []tree.Event
}

func (m *rswatch) code(c *coder) {
	c.flag(&m.More)
	c.u64(&m.At)
	list(c, &m.Events, eventSize, c.event)
}

const eventSize = 19 // of an event without a name

func (c *coder) event(e *tree.Event) {
	c.u64(&e.Version)
	k := uint8(e.Kind)
	c.u8(&k)
	e.Kind = tree.EventKind(k)
	c.str(&e.Name)
	c.u64(&e.ID)
}

type sgrant struct{ TTL uint64 } // milliseconds

func (m *sgrant) code(c *coder) { c.u64(&m.TTL) }

type lease struct{ ID string }

func (m *lease) code(c *coder) { c.str(&m.ID) }

type (
	srenew  struct{ lease }
	srevoke struct{ lease }
)

type sabandon struct{ onFid }
