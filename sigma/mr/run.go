package mr

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"sigmaos/api"
)

// A run is a file of sorted pairs, bin by bin:
//
//	magic                      8 bytes, with the version
//	pairs                      length of key, length of value (varints), key, value
//	an offset and a checksum   12 bytes for each bin, and one offset for the end
//	checksum of these, magic   12 bytes
//
// so that a reducer finds its part with one read at the end of the file.

const (
	magic     = "sigmamr1"
	binEntry  = 12
	tailFixed = 8 + 4 + len(magic) // behind the entries: end, checksum, magic
	runBuffer = 512 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func tailSize(bins int) int64 { return int64(bins*binEntry + tailFixed) }

// runWriter writes a run. Bins come in order, keys in order within each.
type runWriter struct {
	w    io.Writer
	buf  []byte
	off  int64 // of what is not in buf any more
	sum  uint32
	from int // where in buf the checksum goes on
	bin  int // the one that is written
	tail []byte
	bins int
}

func newRunWriter(w io.Writer, bins int) *runWriter {
	r := &runWriter{w: w, bins: bins, bin: -1, buf: make([]byte, 0, runBuffer+64)}
	r.buf = append(r.buf, magic...)
	r.from = len(magic)
	return r
}

func (r *runWriter) flush() error {
	r.sum = crc32.Update(r.sum, castagnoli, r.buf[r.from:])
	n, err := r.w.Write(r.buf)
	r.off += int64(n)
	r.buf, r.from = r.buf[:0], 0
	return err
}

// next begins bins up to and including bin.
func (r *runWriter) next(bin int) {
	for r.bin < bin {
		r.closeBin()
		r.bin++
		r.tail = binary.LittleEndian.AppendUint64(r.tail, uint64(r.off)+uint64(len(r.buf)))
	}
}

func (r *runWriter) closeBin() {
	sum := crc32.Update(r.sum, castagnoli, r.buf[r.from:])
	if r.bin >= 0 {
		r.tail = binary.LittleEndian.AppendUint32(r.tail, sum)
	}
	r.sum, r.from = 0, len(r.buf)
}

func (r *runWriter) pair(bin int, key, value []byte) error {
	if bin != r.bin {
		r.next(bin)
	}
	r.buf = binary.AppendUvarint(r.buf, uint64(len(key)))
	r.buf = binary.AppendUvarint(r.buf, uint64(len(value)))
	r.buf = append(r.buf, key...)
	r.buf = append(r.buf, value...)
	if len(r.buf) >= runBuffer {
		return r.flush()
	}
	return nil
}

// finish writes the tail and returns the size of the file.
func (r *runWriter) finish() (int64, error) {
	r.next(r.bins - 1)
	r.closeBin()
	end := uint64(r.off) + uint64(len(r.buf))
	r.tail = binary.LittleEndian.AppendUint64(r.tail, end)
	r.tail = binary.LittleEndian.AppendUint32(r.tail, crc32.Checksum(r.tail, castagnoli))
	r.tail = append(r.tail, magic...)
	r.buf = append(r.buf, r.tail...)
	err := r.flush()
	return r.off, err
}

// segment is one bin of a run, read from its beginning to its end.
type segment struct {
	in       io.ReaderAt
	name     string
	off, end int64 // what is not in buf yet
	want     uint32
	sum      uint32
	store    []byte // buf is in here
	buf      []byte // what is read and not used
	key      []byte
	value    []byte
	prefix   uint64
	order    int // among those of one merge
}

// openSegment finds a bin in a run of a known size.
func openSegment(in io.ReaderAt, name string, size int64, bin, bins int) (*segment, error) {
	n := tailSize(bins)
	tail := make([]byte, n)
	if size < n+int64(len(magic)) {
		return nil, broken(name, "%d bytes are too few", size)
	}
	if k, err := in.ReadAt(tail, size-n); int64(k) < n {
		if err == nil || err == io.EOF {
			err = broken(name, "it is shorter than it was")
		}
		return nil, err
	}
	body := tail[:bins*binEntry+8]
	if string(tail[n-int64(len(magic)):]) != magic {
		return nil, broken(name, "it does not end as a run of this version")
	}
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(tail[len(body):]) {
		return nil, broken(name, "its index is damaged")
	}
	e := body[bin*binEntry:]
	s := &segment{in: in, name: name, off: int64(binary.LittleEndian.Uint64(e)), want: binary.LittleEndian.Uint32(e[8:]), end: int64(binary.LittleEndian.Uint64(e[12:]))}
	if s.off < int64(len(magic)) || s.end < s.off || s.end > size-n {
		return nil, broken(name, "its index is damaged")
	}
	return s, nil
}

// broken is the error of a run that is not what was written.
func broken(name, format string, args ...any) error {
	return &readError{name, api.E(api.Conflict, "read", name, format, args...)}
}

// fill reads until n bytes are in buf, or all that there is; size is how much to
// read at a time.
func (s *segment) fill(n, size int) error {
	for len(s.buf) < n && s.off < s.end {
		if cap(s.store) < max(n, size) {
			s.store = make([]byte, max(n, size))
		}
		have := copy(s.store, s.buf)
		k := min(int64(cap(s.store)-have), s.end-s.off)
		m, err := s.in.ReadAt(s.store[have:have+int(k)], s.off)
		if m == 0 {
			if err == nil || err == io.EOF {
				err = broken(s.name, "it ends at %d instead of %d", s.off, s.end)
			}
			return err
		}
		s.sum = crc32.Update(s.sum, castagnoli, s.store[have:have+m])
		s.off += int64(m)
		s.buf = s.store[:have+m]
	}
	if s.off == s.end && s.sum != s.want {
		return broken(s.name, "its content is damaged")
	}
	return nil
}

// next makes the next pair key and value, which are valid until the next call;
// false is the end.
func (s *segment) next(size int) (bool, error) {
	const head = 2 * binary.MaxVarintLen64
	if len(s.buf) < head {
		if err := s.fill(head, size); err != nil {
			return false, err
		}
	}
	if len(s.buf) == 0 {
		return false, nil
	}
	kl, a := binary.Uvarint(s.buf)
	vl, b := binary.Uvarint(s.buf[max(a, 0):])
	if a <= 0 || b <= 0 || kl > maxPair || vl > maxPair {
		return false, broken(s.name, "a pair is damaged")
	}
	n := a + b + int(kl+vl)
	if len(s.buf) < n {
		if err := s.fill(n, size); err != nil {
			return false, err
		}
		if len(s.buf) < n {
			return false, broken(s.name, "its last pair is cut off")
		}
	}
	s.key, s.value = s.buf[a+b:a+b+int(kl)], s.buf[a+b+int(kl):n]
	s.prefix = prefixOf(s.key)
	s.buf = s.buf[n:]
	return true, nil
}
