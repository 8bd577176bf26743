package talk

import (
	"encoding/binary"

	"sigmaos/api"
)

// A request is this head and the messages, each behind its length (u32):
//
//	0   u8   version, 1
//	1   u64  the caller's session: boot (high 32 bits) and a number that grows
//	9   u64  the other side's session, as the caller knows it; 0 is not yet
//	17  u64  number of the first message; the first of a session is 1
//
// An answer is
//
//	0  u8   version, 1
//	1  u8   what came of it: taken, other, old
//	2  u64  the answering side's session
//	10 u64  number of the message that it wants next
const (
	version    = 1
	headSize   = 25
	answerSize = 18
)

type verdict uint8

const (
	taken verdict = 1 // all of it
	other verdict = 2 // the session that the caller speaks of is over
	old   verdict = 3 // the caller itself has a newer one
)

type head struct {
	mine, theirs, first uint64
}

func (h head) append(b []byte) []byte {
	b = append(b, version)
	b = binary.LittleEndian.AppendUint64(b, h.mine)
	b = binary.LittleEndian.AppendUint64(b, h.theirs)
	return binary.LittleEndian.AppendUint64(b, h.first)
}

func malformed(format string, args ...any) error {
	return api.E(api.Invalid, "talk", "", format, args...)
}

func parseHead(b []byte) (h head, rest []byte, err error) {
	if len(b) < headSize || b[0] != version {
		return h, nil, malformed("%d bytes that are no request of version %d", len(b), version)
	}
	h = head{binary.LittleEndian.Uint64(b[1:]), binary.LittleEndian.Uint64(b[9:]), binary.LittleEndian.Uint64(b[17:])}
	if h.mine == 0 || h.first == 0 {
		return h, nil, malformed("a request without a session or a number")
	}
	return h, b[headSize:], nil
}

// cut takes the next message off b.
func cut(b []byte) (message, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, malformed("a message that is cut")
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, malformed("a message of %d bytes in %d", n, len(b)-4)
	}
	return b[4 : 4+n], b[4+n:], nil
}

// count is how many messages b holds, as far as they are whole.
func count(b []byte) (n int) {
	for len(b) > 0 {
		_, rest, err := cut(b)
		if err != nil {
			return n
		}
		b, n = rest, n+1
	}
	return n
}

type answer struct {
	verdict verdict
	mine    uint64
	next    uint64
}

func (a answer) encode() []byte {
	b := append(make([]byte, 0, answerSize), version, byte(a.verdict))
	b = binary.LittleEndian.AppendUint64(b, a.mine)
	return binary.LittleEndian.AppendUint64(b, a.next)
}

func parseAnswer(b []byte) (a answer, err error) {
	if len(b) != answerSize || b[0] != version {
		return a, malformed("%d bytes that are no answer of version %d", len(b), version)
	}
	return answer{verdict(b[1]), binary.LittleEndian.Uint64(b[2:]), binary.LittleEndian.Uint64(b[10:])}, nil
}
