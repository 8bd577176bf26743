package ux

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"sigmaos/naming/tree"
)

// meta is what a file means: the content of its extended attribute. It is not
// changed in place; a changed copy replaces it.
type meta struct {
	mode    uint32 // type and permission, as in tree.Attr
	id      uint64
	version uint64
	owner   string
	// published marks an endpoint link that an operator made.
	published bool
	// dirty: the version grew since this was written, because there were writers.
	dirty bool
	// undo is where an append began that is not finished; -1: none.
	undo int64
	// done are the latest Puts with an id; see replayHash.
	done []uint64
}

const (
	metaAttr    = "user.sigma"
	metaVersion = 1
	metaMax     = 512 // bytes; none is longer
	maxDone     = 8

	flagDirty     = 1
	flagUndo      = 2
	flagPublished = 4
)

// The types as they are stored.
var metaTypes = [...]uint32{1: tree.ModeFile, 2: tree.ModeDir, 3: tree.ModeSymlink, 4: tree.ModeEndpoint}

var errMeta = errors.New("the attribute " + metaAttr + " is damaged")

func (m *meta) isDir() bool  { return m.mode&tree.ModeType == tree.ModeDir }
func (m *meta) isFile() bool { return m.mode&tree.ModeType == tree.ModeFile }

// encode lays out: version, type, flags, permission (2), id (8), version (8),
// length and bytes of the owner, count of done and 8 bytes each, undo (8, if flagged).
func (m *meta) encode(b []byte) []byte {
	kind, flags := byte(0), byte(0)
	for k, t := range metaTypes {
		if t == m.mode&tree.ModeType {
			kind = byte(k)
		}
	}
	if m.dirty {
		flags |= flagDirty
	}
	if m.undo >= 0 {
		flags |= flagUndo
	}
	if m.published {
		flags |= flagPublished
	}
	b = append(b, metaVersion, kind, flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(m.mode&tree.ModePerm))
	b = binary.LittleEndian.AppendUint64(b, m.id)
	b = binary.LittleEndian.AppendUint64(b, m.version)
	b = append(append(b, byte(len(m.owner))), m.owner...)
	b = append(b, byte(len(m.done)))
	for _, d := range m.done {
		b = binary.LittleEndian.AppendUint64(b, d)
	}
	if m.undo >= 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(m.undo))
	}
	return b
}

// decodeMeta is the reverse; anything but what encode makes is errMeta.
func decodeMeta(b []byte) (*meta, error) {
	const fixed = 1 + 1 + 1 + 2 + 8 + 8 + 1
	if len(b) < fixed+1 || b[0] != metaVersion || b[1] == 0 || int(b[1]) >= len(metaTypes) || b[2]&^(flagDirty|flagUndo|flagPublished) != 0 {
		return nil, errMeta
	}
	perm := uint32(binary.LittleEndian.Uint16(b[3:]))
	m := &meta{
		mode: metaTypes[b[1]] | perm, dirty: b[2]&flagDirty != 0, published: b[2]&flagPublished != 0, undo: -1,
		id: binary.LittleEndian.Uint64(b[5:]), version: binary.LittleEndian.Uint64(b[13:]),
	}
	owner, rest := int(b[fixed-1]), b[fixed:]
	if perm&^tree.ModePerm != 0 || len(rest) < owner+1 {
		return nil, errMeta
	}
	m.owner = string(rest[:owner])
	n := int(rest[owner])
	rest = rest[owner+1:]
	want := n * 8
	if b[2]&flagUndo != 0 {
		want += 8
	}
	if n > maxDone || len(rest) != want {
		return nil, errMeta
	}
	for ; n > 0; n-- {
		m.done = append(m.done, binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
	}
	if len(rest) > 0 {
		if m.undo = int64(binary.LittleEndian.Uint64(rest)); m.undo < 0 {
			return nil, errMeta
		}
	}
	return m, nil
}

// readMeta reads the attribute of an open file; nil without error: it has none.
func readMeta(fd int) (*meta, error) {
	var b [metaMax]byte
	var n int
	err := retry(func() (err error) { n, err = unix.Fgetxattr(fd, metaAttr, b[:]); return err })
	switch {
	case err == unix.ENODATA:
		return nil, nil
	case err == unix.ERANGE:
		return nil, errMeta
	case err != nil:
		return nil, err
	}
	return decodeMeta(b[:n])
}

func writeMeta(fd int, m *meta) error {
	var b [metaMax]byte
	v := m.encode(b[:0])
	return retry(func() error { return unix.Fsetxattr(fd, metaAttr, v, 0) })
}
