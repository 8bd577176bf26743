package named

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

var be = binary.BigEndian

// format is the first byte of every value. Files, the log and groups of remembered
// writes are of the second; what was written in the first is read too. Numbers are
// of fixed length: the 100,000th file of a directory costs the bytes of the first.
const (
	format  = 1
	format2 = 2
)

var errDamaged = errors.New("the value is damaged or of a later version")

func putStr(b []byte, s string) []byte { return append(be.AppendUint32(b, uint32(len(s))), s...) }

// dec reads a value; bad is set at the first thing that does not fit.
type dec struct {
	b      []byte
	bad    bool
	format uint8
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

// newDec reads the format, which must be one of those up to latest.
func newDec(b []byte, latest uint8) *dec {
	d := &dec{b: b}
	d.format = d.u8()
	d.bad = d.bad || d.format < format || d.format > latest
	return d
}

// end checks that all was read.
func (d *dec) end() error {
	if d.bad || len(d.b) != 0 {
		return errDamaged
	}
	return nil
}

// encode is a file as it is stored, at its entry's key or, of the root, at its own.
func (in *inode) encode() []byte {
	b := make([]byte, 0, 80+len(in.Owner)+len(in.Lease)+len(in.Target)+len(in.Data))
	b = append(b, format2)
	b = be.AppendUint64(b, in.ID)
	b = be.AppendUint32(b, in.Mode)
	b = be.AppendUint64(b, in.Version)
	b = be.AppendUint64(b, in.Created)
	b = be.AppendUint64(b, uint64(in.Modified))
	b = be.AppendUint64(b, in.Entered)
	b = be.AppendUint64(b, uint64(in.EnteredAt))
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

// decodeInode reads a file; one of the first format does not have its number in
// the value.
func decodeInode(id uint64, v []byte) (inode, error) {
	d := newDec(v, format2)
	in := inode{ID: id}
	if d.format == format2 {
		in.ID = d.u64()
	}
	in.Mode, in.Version, in.Created, in.Modified = d.u32(), d.u64(), d.u64(), int64(d.u64())
	if d.format == format2 {
		in.Entered, in.EnteredAt = d.u64(), int64(d.u64())
	}
	flags := d.u8()
	in.Published = flags == 1
	in.Owner, in.Lease, in.Target = d.str(maxUser), d.str(maxLeaseID), d.str(tree.MaxPath)
	if d.bad || flags > 1 || len(d.b) > maxFileSize || len(d.b) > 0 && in.Mode&tree.ModeType != tree.ModeFile {
		return inode{}, errDamaged
	}
	in.Data = d.b
	return in, nil
}

// decodeEntry reads what is at an entry's key: the file, or, in the first format,
// where it is (its number and its mode).
func decodeEntry(v []byte) (in inode, apart bool, err error) {
	if len(v) > 0 && v[0] == format2 {
		in, err = decodeInode(0, v)
		return in, false, err
	}
	d := newDec(v, format)
	in.ID, in.Mode = d.u64(), d.u32()
	return in, true, d.end()
}

// logRecord is the value of the log key: one transaction. Its events have the
// versions that end with version. replays are the last remembered writes, which
// are not in a group of their own yet.
type logRecord struct {
	epoch   int64
	seq     uint64
	version uint64
	events  []event
	replays []replay
}

func (l *logRecord) encode() []byte {
	b := append(make([]byte, 0, 64+48*len(l.events)+128*len(l.replays)), format2)
	b = be.AppendUint64(b, uint64(l.epoch))
	b = be.AppendUint64(b, l.seq)
	b = be.AppendUint64(b, l.version)
	b = be.AppendUint32(b, uint32(len(l.events)))
	for _, e := range l.events {
		b = append(b, byte(e.kind))
		b = be.AppendUint64(b, e.parent)
		b = be.AppendUint64(b, e.id)
		b = putStr(b, e.name)
	}
	return appendReplays(b, l.replays)
}

func decodeLog(v []byte) (logRecord, error) {
	d := newDec(v, format2)
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
	if d.format == format2 {
		l.replays = d.replays()
	}
	return l, d.end()
}

func encodeID(id uint64) []byte { return be.AppendUint64([]byte{format}, id) }

func decodeID(v []byte) (uint64, error) {
	d := newDec(v, format)
	id := d.u64()
	return id, d.end()
}

func (l *leaseRecord) encode() []byte {
	b := putStr([]byte{format}, l.user)
	b = putStr(b, string(l.proc))
	return be.AppendUint64(b, uint64(l.ttl))
}

func decodeLease(v []byte) (leaseRecord, error) {
	d := newDec(v, format)
	l := leaseRecord{user: d.str(maxUser), proc: api.ProcID(d.str(maxProc)), ttl: clampTTL(d.u64())}
	return l, d.end()
}

// appendReplays writes remembered writes, whose numbers follow each other.
func appendReplays(b []byte, list []replay) []byte {
	b = be.AppendUint32(b, uint32(len(list)))
	if len(list) > 0 {
		b = be.AppendUint64(b, list[0].seq)
	}
	for i := range list {
		b = list[i].append(b)
	}
	return b
}

func (d *dec) replays() (list []replay) {
	n := d.u32()
	if d.bad || uint64(n) > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	seq := uint64(0)
	if n > 0 {
		seq = d.u64()
	}
	for i := range n {
		p := d.replay(seq + uint64(i))
		if d.bad {
			return nil
		}
		list = append(list, p)
	}
	return list
}

func (p *replay) append(b []byte) []byte {
	b = putStr(b, p.key.user)
	b = putStr(b, p.key.id)
	b = be.AppendUint64(b, p.file)
	b = be.AppendUint64(b, p.version)
	b = be.AppendUint32(b, p.mode)
	b = be.AppendUint64(b, uint64(p.size))
	b = be.AppendUint64(b, uint64(p.modified))
	b = putStr(b, p.owner)
	return putStr(b, p.lease)
}

func (d *dec) replay(seq uint64) replay {
	return replay{key: replayKey{user: d.str(maxUser), id: d.str(maxReplayID)}, seq: seq, file: d.u64(), version: d.u64(), mode: d.u32(),
		size: int64(d.u64()), modified: int64(d.u64()), owner: d.str(maxUser), lease: d.str(maxLeaseID)}
}

func encodeReplays(list []replay) []byte { return appendReplays([]byte{format2}, list) }

// decodeReplays reads a group of remembered writes at the key of the first; in
// the first format it is one.
func decodeReplays(seq uint64, v []byte) (list []replay, err error) {
	d := newDec(v, format2)
	if d.format == format2 {
		list = d.replays()
	} else {
		list = []replay{d.replay(seq)}
	}
	if len(list) > 0 && list[0].seq != seq {
		d.bad = true
	}
	return list, d.end()
}
