package rpc

import (
	"encoding/binary"
	"io"

	"sigmaos/api"
)

// Each side begins with a hello; neither waits for the other's.
const (
	magic     = "\xcf\x83rp" // σ, so that it is the beginning of no text protocol
	version   = 1            // the newest this code speaks
	oldest    = 1            // and the oldest
	helloSize = 20
)

const (
	roleCaller uint8 = 1
	roleServer uint8 = 2
)

type hello struct {
	newest, oldest, role uint8
	maxFrame, window     int // longest frame, window of a stream that the sender takes
	maxCalls             int // numbers that a caller may use
}

func appendHello(b []byte, h hello) []byte {
	b = append(b, magic...)
	b = append(b, h.newest, h.oldest, h.role, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.maxFrame))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.window))
	return binary.LittleEndian.AppendUint32(b, uint32(h.maxCalls))
}

func parseHello(b []byte, role uint8) (hello, error) {
	frame, window, calls := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:])
	h := hello{
		newest: b[4], oldest: b[5], role: b[6],
		maxFrame: int(min(frame, mostFrame)), window: int(min(window, mostFrame)), maxCalls: int(min(calls, mostCalls)),
	}
	switch {
	case h.newest < oldest || h.oldest > version || h.oldest > h.newest:
		return h, api.E(api.Unsupported, "rpc", "", "the other side speaks versions %d to %d; this one %d to %d", h.oldest, h.newest, oldest, version)
	case h.role != role && (h.role == roleCaller || h.role == roleServer):
		return h, broken("the hello of the same role: a caller needs a server at the other end")
	case h.role != role || b[7] != 0 || frame < minFrame || window < minWindow || calls < minCalls:
		return h, broken("a hello that makes no sense: % x", b)
	}
	return h, nil
}

// readHello reads the hello of a peer that has the given role. The first wrong
// byte ends it, however few have come.
func readHello(r io.Reader, role uint8) (hello, error) {
	var b [helloSize]byte
	for n := 0; n < len(b); {
		m, err := r.Read(b[n:])
		n += m
		if k := min(n, len(magic)); string(b[:k]) != magic[:k] {
			return hello{}, broken("% x, which is no beginning of this protocol", b[:n])
		}
		if n < len(b) && err != nil {
			if err == io.EOF && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return hello{}, err
		}
	}
	return parseHello(b[:], role)
}
