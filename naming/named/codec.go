package named

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

var be = binary.BigEndian

// format is the first byte of every value. Numbers are of fixed length: the
// 100,000th file of a directory costs the bytes of the first.
const format = 1

var errDamaged = errors.New("the value is damaged or of a later version")

func putStr(b []byte, s string) []byte { return append(be.AppendUint32(b, uint32(len(s))), s...) }

// dec reads a value; bad is set at the first thing that does not fit.
type dec struct {
	b   []byte
	bad bool
}

func (d *dec) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return make([]byte, min(max(n, 0), 8))
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *dec) u8() uint8   { return d.take(1)[0] }
func (d *dec) u32() uint32 { return be.Uint32(d.take(4)) }
func (d *dec) u64() uint64 { return be.Uint64(d.take(8)) }

func (d *dec) str(limit int) string {
	n := d.u32()
	if d.bad || uint64(n) > uint64(limit) {
		d.bad = true
		return ""
	}
	s := string(d.take(int(n)))
	d.bad = d.bad || !utf8.ValidString(s)
	return s
}

func newDec(b []byte) *dec {
	d := &dec{b: b}
	d.bad = d.u8() != format || d.bad
	return d
}

// end checks that all was read.
func (d *dec) end() error {
	if d.bad || len(d.b) != 0 {
		return errDamaged
	}
	return nil
}

func (in *inode) encode() []byte {
	b := make([]byte, 0, 48+len(in.Owner)+len(in.Lease)+len(in.Target)+len(in.Data))
	b = append(b, format)
	b = be.AppendUint32(b, in.Mode)
	b = be.AppendUint64(b, in.Version)
	b = be.AppendUint64(b, in.Created)
	b = be.AppendUint64(b, uint64(in.Modified))
	var flags byte
	if in.Published {
		flags = 1
	}
	b = append(b, flags)
	b = putStr(b, in.Owner)
	b = putStr(b, in.Lease)
	b = putStr(b, in.Target)
	return append(b, in.Data...)
}

func decodeInode(id uint64, v []byte) (inode, error) {
	d := newDec(v)
	in := inode{ID: id, Mode: d.u32(), Version: d.u64(), Created: d.u64(), Modified: int64(d.u64())}
	flags := d.u8()
	in.Published = flags == 1
	in.Owner, in.Lease, in.Target = d.str(maxUser), d.str(maxLeaseID), d.str(tree.MaxPath)
	if d.bad || flags > 1 || len(d.b) > maxFileSize || len(d.b) > 0 && in.Mode&tree.ModeType != tree.ModeFile {
		return inode{}, errDamaged
	}
	in.Data = d.b
	return in, nil
}

func encodeDirent(id uint64, mode uint32) []byte {
	b := be.AppendUint64([]byte{format}, id)
	return be.AppendUint32(b, mode)
}

func decodeDirent(v []byte) (id uint64, mode uint32, err error) {
	d := newDec(v)
	id, mode = d.u64(), d.u32()
	return id, mode, d.end()
}

// logRecord is the value of the log key: one transaction. Its events have the
// versions that end with version.
type logRecord struct {
	epoch   int64
	seq     uint64
	version uint64
	events  []event
}

func (l *logRecord) encode() []byte {
	b := be.AppendUint64([]byte{format}, uint64(l.epoch))
	b = be.AppendUint64(b, l.seq)
	b = be.AppendUint64(b, l.version)
	b = be.AppendUint32(b, uint32(len(l.events)))
	for _, e := range l.events {
		b = append(b, byte(e.kind))
		b = be.AppendUint64(b, e.parent)
		b = be.AppendUint64(b, e.id)
		b = putStr(b, e.name)
	}
	return b
}

func decodeLog(v []byte) (logRecord, error) {
	d := newDec(v)
	l := logRecord{epoch: int64(d.u64()), seq: d.u64(), version: d.u64()}
	n := d.u32()
	if d.bad || uint64(n) > uint64(len(v)) || uint64(n) > l.version {
		return logRecord{}, errDamaged
	}
	for i := range n {
		e := event{version: l.version - uint64(n) + 1 + uint64(i), kind: tree.EventKind(d.u8()), parent: d.u64(), id: d.u64(), name: d.str(tree.MaxName)}
		if d.bad || e.kind < tree.Created || e.kind > tree.Renamed {
			return logRecord{}, errDamaged
		}
		l.events = append(l.events, e)
	}
	return l, d.end()
}

func encodeID(id uint64) []byte { return be.AppendUint64([]byte{format}, id) }

func decodeID(v []byte) (uint64, error) {
	d := newDec(v)
	id := d.u64()
	return id, d.end()
}

func (l *leaseRecord) encode() []byte {
	b := putStr([]byte{format}, l.user)
	b = putStr(b, string(l.proc))
	return be.AppendUint64(b, uint64(l.ttl))
}

func decodeLease(v []byte) (leaseRecord, error) {
	d := newDec(v)
	l := leaseRecord{user: d.str(maxUser), proc: api.ProcID(d.str(maxProc)), ttl: clampTTL(d.u64())}
	return l, d.end()
}

func (p *replay) encode() []byte {
	b := putStr([]byte{format}, p.key.user)
	b = putStr(b, p.key.id)
	b = be.AppendUint64(b, p.file)
	b = be.AppendUint64(b, p.version)
	b = be.AppendUint32(b, p.mode)
	b = be.AppendUint64(b, uint64(p.size))
	b = be.AppendUint64(b, uint64(p.modified))
	b = putStr(b, p.owner)
	return putStr(b, p.lease)
}

func decodeReplay(v []byte) (replay, error) {
	d := newDec(v)
	p := replay{key: replayKey{user: d.str(maxUser), id: d.str(maxReplayID)}, file: d.u64(), version: d.u64(), mode: d.u32(),
		size: int64(d.u64()), modified: int64(d.u64()), owner: d.str(maxUser), lease: d.str(maxLeaseID)}
	return p, d.end()
}
