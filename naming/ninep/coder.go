package ninep

import (
	"encoding/binary"
	"time"

	"sigmaos/naming/tree"
)

// coder writes the fields of a message, or reads them: each message lists its
// fields once, and both directions follow that list.
type coder struct {
	b     []byte // written so far, or left to read
	write bool
	bad   bool // the message ended early or has something impossible in it
}

// message is the part of a frame behind size, type and tag.
type message interface{ code(c *coder) }

// take returns the next n bytes of what is read; nil when there are fewer.
func (c *coder) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad = true
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *coder) u8(v *uint8) {
	if c.write {
		c.b = append(c.b, *v)
	} else if p := c.take(1); p != nil {
		*v = p[0]
	}
}

func (c *coder) u16(v *uint16) {
	if c.write {
		c.b = binary.LittleEndian.AppendUint16(c.b, *v)
	} else if p := c.take(2); p != nil {
		*v = binary.LittleEndian.Uint16(p)
	}
}

func (c *coder) u32(v *uint32) {
	if c.write {
		c.b = binary.LittleEndian.AppendUint32(c.b, *v)
	} else if p := c.take(4); p != nil {
		*v = binary.LittleEndian.Uint32(p)
	}
}

func (c *coder) u64(v *uint64) {
	if c.write {
		c.b = binary.LittleEndian.AppendUint64(c.b, *v)
	} else if p := c.take(8); p != nil {
		*v = binary.LittleEndian.Uint64(p)
	}
}

func (c *coder) i64(v *int64) {
	u := uint64(*v)
	c.u64(&u)
	*v = int64(u)
}

// flag is a byte that is 0 or 1.
func (c *coder) flag(v *bool) {
	var b uint8
	if *v {
		b = 1
	}
	c.u8(&b)
	c.bad = c.bad || b > 1
	*v = b == 1
}

// str is two bytes of length and the text. What is longer is cut when written;
// whoever makes a message has checked what may be long.
func (c *coder) str(v *string) {
	n := uint16(min(len(*v), 1<<16-1))
	c.u16(&n)
	if c.write {
		c.b = append(c.b, (*v)[:n]...)
	} else {
		*v = string(c.take(int(n)))
	}
}

// data is four bytes of length and the bytes; what is read is part of the frame.
func (c *coder) data(v *[]byte) {
	n := uint32(len(*v))
	c.u32(&n)
	if c.write {
		c.b = append(c.b, *v...)
	} else if int64(n) > int64(len(c.b)) {
		c.bad = true
	} else {
		*v = c.take(int(n))
	}
}

// names is two bytes of count, then the strings: at most max of them.
func (c *coder) names(v *[]string, max int) {
	n := uint16(min(len(*v), 1<<16-1))
	c.u16(&n)
	if int(n) > max || !c.write && int(n)*2 > len(c.b) {
		c.bad = true
		return
	}
	if !c.write {
		*v = make([]string, n)
	}
	for i := range *v {
		c.str(&(*v)[i])
	}
}

func (c *coder) time(t *time.Time) {
	sec, nsec := t.Unix(), uint32(t.Nanosecond())
	c.i64(&sec)
	c.u32(&nsec)
	if !c.write {
		if nsec >= 1e9 {
			c.bad = true
			return
		}
		*t = time.Unix(sec, int64(nsec))
	}
}

// qid is how 9P names a file: type, the low half of its version, its number.
type qid struct {
	Type    uint8
	Version uint32
	Path    uint64
}

const (
	qidDir     = 0x80
	qidSymlink = 0x02
)

func (c *coder) qid(q *qid) {
	c.u8(&q.Type)
	c.u32(&q.Version)
	c.u64(&q.Path)
}

// attr is σ's form of a file's attributes.
func (c *coder) attr(a *tree.Attr) {
	c.u64(&a.ID)
	c.u64(&a.Version)
	c.u32(&a.Mode)
	c.str(&a.Owner)
	c.i64(&a.Size)
	c.u32(&a.Links)
	c.time(&a.Modified)
	c.flag(&a.Published)
	c.str(&a.Target)
	c.str(&a.Lease)
}
