package rpc

import (
	"encoding/binary"
	"fmt"

	"sigmaos/api"
)

// kind says what a frame is.
type kind uint8

const (
	kCall   kind = iota + 1 // caller: name, body; arg is the time left in ms, 0 for no end
	kOpen                   // caller: the same without a body; begins a stream
	kAnswer                 // server: the call went well; of a stream: the handler is done
	kError                  // server: the call or stream ended with the error in the body
	kCancel                 // caller: the result is of no use any more; an answer comes still
	kData                   // both: a message of a stream
	kEnd                    // both: no message of mine follows
	kCredit                 // both: arg more bytes of messages may come
	kPing                   // both: say something
	kPong                   // both: the answer to that
)

const (
	headerSize = 16
	maxName    = 255
)

// header is the fixed part of a frame.
type header struct {
	size int // of name and body together
	kind kind
	name int // how much of it is the name
	id   uint32
	arg  uint32
}

func appendFrame(b []byte, k kind, id, arg uint32, name string, body []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(name)+len(body)))
	b = append(b, byte(k), byte(len(name)), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint32(b, arg)
	b = append(b, name...)
	return append(b, body...)
}

// parseHeader checks what can be checked without knowing the connection.
func parseHeader(b []byte, limit int) (header, error) {
	h := header{kind: kind(b[4]), name: int(b[5]), id: binary.LittleEndian.Uint32(b[8:]), arg: binary.LittleEndian.Uint32(b[12:])}
	size := binary.LittleEndian.Uint32(b)
	h.size = int(size)
	switch {
	case uint64(size) > uint64(limit):
		return h, broken("a frame of %d bytes; the limit is %d", size, limit)
	case h.kind < kCall || h.kind > kPong:
		return h, broken("a frame of type %d", h.kind)
	case b[6] != 0 || b[7] != 0:
		return h, broken("a frame with reserved bits %#x", b[6:8])
	case h.name > h.size:
		return h, broken("a name that is longer than its frame")
	}
	return h, nil
}

// broken is what a side says that lost the connection by breaking a rule.
func broken(format string, args ...any) *api.Error {
	return api.E(api.Invalid, "rpc", "", "the other side sent %s", fmt.Sprintf(format, args...))
}
