// Package wire is the frame format of the control channel: what a proc speaks
// on descriptor 3, a program outside on the operator's socket, and later both
// over the gateway. docs/PROC-ABI.md says the same for authors in C and Rust.
//
// A frame is a header of 12 bytes and a payload, all numbers little-endian:
//
//	0  u32  payload length, at most MaxPayload (answers: MaxAnswer)
//	4  u8   version, 1
//	5  u8   type
//	6  u16  flags: Reply 1, Error 2, More 4
//	8  u32  request id, chosen by the requester; 0 asks for no reply
//
// A payload is a row of fields, each a u32 (tag in the low 8 bits, length in
// the high 24) and that many bytes. Numbers are fields of 8 bytes. A tag that
// may come several times is a list; an unknown tag is skipped, so that fields
// can be added without a new version.
//
// Many requests may be under way on one connection; answers come in any order.
// Nothing in a frame says who sends it.
package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	Version    = 1
	HeaderSize = 12
	// MaxPayload holds a Spawn with all its args and env and their field heads.
	MaxPayload = 256 << 10
	// MaxAnswer bounds what a client takes from sigmad: a long list in one
	// answer. sigmad itself never reads more than MaxPayload.
	MaxAnswer = 64 << 20
)

// Type is what a frame asks for; its answer has the same type and Reply set.
type Type uint8

const (
	TStarted   Type = 1 // proc: I am ready
	TExited    Type = 2 // proc: I end, with this code, message, data
	TWaitKill  Type = 3 // proc: answer when I am asked to end
	TSpawn     Type = 4
	TWaitStart Type = 5
	TWaitExit  Type = 6
	TKill      Type = 7
	TRealm     Type = 8 // outside: act in this realm from now on
	TCancel    Type = 9 // forget the request with the id in field 1
	TCall      Type = 10
	TAuth      Type = 11 // over the gateway: this is my token

	TNewEndpoint   Type = 16
	TAccept        Type = 17
	TDial          Type = 18
	TCloseEndpoint Type = 19
)

// Flags of a frame.
const (
	FlagReply uint16 = 1
	FlagError uint16 = 2 // the payload is an error
	FlagMore  uint16 = 4 // further replies to the same request follow
	FlagFD    uint16 = 8 // a descriptor comes with the first byte of this frame
)

// Frame is one message. Payload may alias the reader's buffer until its next
// Read.
type Frame struct {
	Type    Type
	Flags   uint16
	ID      uint32
	Payload []byte
}

// Append encodes f behind b.
func Append(b []byte, f Frame) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Payload)))
	b = append(b, Version, byte(f.Type))
	b = binary.LittleEndian.AppendUint16(b, f.Flags)
	b = binary.LittleEndian.AppendUint32(b, f.ID)
	return append(b, f.Payload...)
}

// parseHeader checks a header and returns the payload's length.
func parseHeader(h []byte, limit uint32) (f Frame, n int, err error) {
	size := binary.LittleEndian.Uint32(h)
	if h[4] != Version {
		return f, 0, fmt.Errorf("frame of version %d; this is version %d", h[4], Version)
	}
	if size > limit {
		return f, 0, fmt.Errorf("frame of %d bytes; the limit is %d", size, limit)
	}
	f.Type = Type(h[5])
	f.Flags = binary.LittleEndian.Uint16(h[6:])
	f.ID = binary.LittleEndian.Uint32(h[8:])
	return f, int(size), nil
}

// Reader cuts a byte stream into frames. It keeps a small buffer, grows it for
// a large frame and lets it go again.
type Reader struct {
	r          io.Reader
	buf        []byte
	start, end int
	limit      uint32
}

const readerBuf = 512

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: r, buf: make([]byte, readerBuf), limit: MaxPayload}
}

// NewAnswerReader returns a Reader for a client: answers may be longer than
// requests.
func NewAnswerReader(r io.Reader) *Reader {
	return &Reader{r: r, buf: make([]byte, readerBuf), limit: MaxAnswer}
}

// Read returns the next frame. io.EOF means a clean end between frames;
// io.ErrUnexpectedEOF an end within one. After any error the stream is dead.
func (r *Reader) Read() (Frame, error) {
	if err := r.fill(HeaderSize); err != nil {
		return Frame{}, err
	}
	f, n, err := parseHeader(r.buf[r.start:], r.limit)
	if err != nil {
		return Frame{}, err
	}
	if err := r.fill(HeaderSize + n); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	f.Payload = r.buf[r.start+HeaderSize : r.start+HeaderSize+n : r.start+HeaderSize+n]
	r.start += HeaderSize + n
	return f, nil
}

// ReadOne reads one frame and not a byte more: for who goes on with the bytes
// behind it himself.
func ReadOne(r io.Reader) (Frame, error) {
	b := make([]byte, HeaderSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return Frame{}, err
	}
	f, n, err := parseHeader(b, MaxPayload)
	if err != nil {
		return Frame{}, err
	}
	f.Payload = make([]byte, n)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// Rest is what was read behind the last frame: a connection that turns into a
// byte stream goes on with it.
func (r *Reader) Rest() []byte { return r.buf[r.start:r.end] }

// fill makes at least n unread bytes contiguous in the buffer.
func (r *Reader) fill(n int) error {
	if r.end-r.start >= n {
		return nil
	}
	if r.start == r.end && len(r.buf) > 64<<10 && n <= readerBuf {
		r.buf, r.start, r.end = make([]byte, readerBuf), 0, 0
	}
	if len(r.buf)-r.start < n {
		dst := r.buf
		if len(dst) < n {
			dst = make([]byte, n)
		}
		r.end = copy(dst, r.buf[r.start:r.end])
		r.buf, r.start = dst, 0
	}
	for r.end-r.start < n {
		m, err := r.r.Read(r.buf[r.end:])
		r.end += m
		if r.end-r.start >= n {
			return nil
		}
		if err != nil {
			if err == io.EOF && r.end > r.start {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
