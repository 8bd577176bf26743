package logs

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// A record is a header and the bytes as they were written:
//
//	offset size
//	0      1    version, 1
//	1      1    stream: 1 or 2
//	2      2    zero
//	4      4    length of the data
//	8      8    key of the proc, unique in this run of the realm
//	16     8    Unix time in nanoseconds
//
// Numbers are little-endian.
const (
	recordVersion = 1
	headerSize    = 24
	maxRecord     = 64 << 10 // longer writes become several records
)

type header struct {
	stream int
	size   int
	key    uint64
	nanos  int64
}

func (h header) append(b []byte) []byte {
	b = append(b, recordVersion, byte(h.stream), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.size))
	b = binary.LittleEndian.AppendUint64(b, h.key)
	return binary.LittleEndian.AppendUint64(b, uint64(h.nanos))
}

// setSize corrects the length in an encoded header.
func setSize(b []byte, size int) { binary.LittleEndian.PutUint32(b[4:], uint32(size)) }

// readHeader decodes the next header. Whatever is not one is an error: the file
// was changed by somebody else.
func readHeader(r *bufio.Reader) (header, error) {
	b, err := r.Peek(headerSize)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return header{}, err
	}
	h := header{
		stream: int(b[1]),
		size:   int(binary.LittleEndian.Uint32(b[4:])),
		key:    binary.LittleEndian.Uint64(b[8:]),
		nanos:  int64(binary.LittleEndian.Uint64(b[16:])),
	}
	if b[0] != recordVersion || h.stream != 1 && h.stream != 2 || h.size > maxRecord {
		return header{}, fmt.Errorf("damaged record header % x", b)
	}
	_, err = r.Discard(headerSize)
	return h, err
}

// segment is one file. Its bytes up to size are written and do not change.
type segment struct {
	n    uint64 // number in the file's name, rising within the store
	path string
	size int64
}

// pos counts what a proc has written up to some point, per stream.
type pos struct{ bytes, lines [2]int64 }

func (p *pos) add(stream int, bytes, lines int64) {
	p.bytes[stream-1] += bytes
	p.lines[stream-1] += lines
}

func (p pos) minus(q pos) pos {
	for i := range p.bytes {
		p.bytes[i] -= q.bytes[i]
		p.lines[i] -= q.lines[i]
	}
	return p
}

func (p pos) plus(q pos) pos { return p.minus(pos{}.minus(q)) }

// of gives one stream's counts, or both streams' together for stream 0.
func (p pos) of(stream int) (bytes, lines int64) {
	if stream == 0 {
		return p.bytes[0] + p.bytes[1], p.lines[0] + p.lines[1]
	}
	return p.bytes[stream-1], p.lines[stream-1]
}

func (p pos) total() int64 { return p.bytes[0] + p.bytes[1] }
