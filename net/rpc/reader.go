package rpc

import (
	"io"
	"sync/atomic"
)

const (
	smallBuf = 4 << 10
	largeBuf = 64 << 10
)

// reader cuts a byte stream into frames. Its buffer grows while there is much
// to read; a frame that does not fit is read into memory of its own, which
// grows only as its bytes come.
type reader struct {
	src        io.Reader
	limit      int
	buf        []byte
	start, end int
	full       bool          // the last read filled the buffer
	few        uint8         // so many reads in a row would have fitted a small one
	heard      atomic.Uint32 // counts frames, and reads that brought something
}

// frame is one frame. name and body are in the reader's buffer until the next
// frame is read, unless own is set.
type frame struct {
	header
	name, body []byte
	own        bool
}

// buffered reports whether the next frame is here without another read.
func (r *reader) buffered() bool {
	if r.end-r.start < headerSize {
		return false
	}
	h, err := parseHeader(r.buf[r.start:], r.limit)
	return err != nil || r.end-r.start >= headerSize+h.size
}

// next returns the next frame. io.EOF is a clean end between frames,
// io.ErrUnexpectedEOF one within.
func (r *reader) next() (f frame, err error) {
	if err := r.fill(headerSize); err != nil {
		return f, err
	}
	if f.header, err = parseHeader(r.buf[r.start:], r.limit); err != nil {
		return f, err
	}
	r.heard.Add(1)
	r.start += headerSize
	var p []byte
	if f.size <= len(r.buf)-headerSize {
		if err := r.fill(f.size); err != nil {
			return f, unexpected(err)
		}
		p = r.buf[r.start : r.start+f.size : r.start+f.size]
		r.start += f.size
	} else {
		f.own = true
		if p, err = r.big(f.size); err != nil {
			return f, unexpected(err)
		}
	}
	f.name, f.body = p[:f.header.name], p[f.header.name:]
	return f, nil
}

// fill makes at least n unread bytes contiguous in the buffer, which is larger.
func (r *reader) fill(n int) error {
	if r.end-r.start >= n {
		return nil
	}
	if r.buf == nil || r.few == 255 && r.start == r.end && n <= smallBuf {
		r.buf, r.start, r.end, r.few = make([]byte, smallBuf), 0, 0, 0
	}
	if dst := r.buf; r.start > 0 || r.full {
		if r.full && len(dst) < largeBuf {
			dst = make([]byte, 2*len(dst))
		}
		r.end = copy(dst, r.buf[r.start:r.end])
		r.buf, r.start, r.full = dst, 0, false
	}
	for r.end < n {
		m, err := r.read(r.buf[r.end:])
		r.end += m
		r.full = r.end == len(r.buf)
		if m > smallBuf/2 || len(r.buf) == smallBuf {
			r.few = 0
		} else if r.few < 255 {
			r.few++
		}
		if r.end < n && err != nil {
			if r.end > 0 {
				err = unexpected(err)
			}
			return err
		}
	}
	return nil
}

// big reads n bytes, more than the buffer holds.
func (r *reader) big(n int) ([]byte, error) {
	p := make([]byte, min(n, largeBuf))
	have := copy(p, r.buf[r.start:r.end])
	r.start, r.end, r.full = 0, 0, false
	for have < n {
		if have == len(p) {
			q := make([]byte, min(n, 2*len(p)))
			copy(q, p)
			p = q
		}
		m, err := r.read(p[have:])
		have += m
		if have < n && err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (r *reader) read(p []byte) (int, error) {
	for range 100 {
		n, err := r.src.Read(p)
		if n > 0 {
			r.heard.Add(1)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
