package dialproxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"sigmaos/api"
)

// The setup message and its answer, docs/ENDPOINTS.md field by field. FirstByte
// tells it from TLS on the node's port.
const (
	FirstByte    = 0xcf
	setupVersion = 1
	setupHead    = 4 // first byte, version, length of the rest
	setupMax     = 512
	macSize      = sha256.Size
	setupFixed   = 2 + 4 + 2 + 4 + 8 + 1 + 16 // nodes and boots, counter, flags, endpoint
	answerSize   = 2 + 8 + macSize            // version, status, counter, MAC
	maxString    = 100
)

// Flags of a setup message.
const (
	flagLC = 1 << iota
	flagOperator
)

// setup is what the dialling node says of a connection.
type setup struct {
	from, to         uint16 // nodes
	fromBoot, toBoot uint32
	counter          uint64
	caller           api.Caller
	endpoint         api.EndpointID
	service          string // instead of an endpoint
}

var errSetup = errors.New("dialproxy: not a setup message")

// encode signs the message.
func (s *setup) encode(key []byte) ([]byte, error) {
	be := binary.BigEndian
	b := make([]byte, setupHead, setupMax)
	b[0], b[1] = FirstByte, setupVersion
	b = be.AppendUint16(b, s.from)
	b = be.AppendUint32(b, s.fromBoot)
	b = be.AppendUint16(b, s.to)
	b = be.AppendUint32(b, s.toBoot)
	b = be.AppendUint64(b, s.counter)
	var flags byte
	if s.caller.Class == api.LC {
		flags |= flagLC
	}
	if s.caller.Operator {
		flags |= flagOperator
	}
	b = append(b, flags)
	b = append(b, s.endpoint[:]...)
	for _, v := range []string{s.caller.Realm, string(s.caller.Proc), s.caller.User, s.caller.Address, s.service} {
		if len(v) > maxString {
			return nil, fmt.Errorf("dialproxy: a name of %d bytes in a setup message", len(v))
		}
		b = append(append(b, byte(len(v))), v...)
	}
	be.PutUint16(b[2:], uint16(len(b)-setupHead+macSize))
	return append(b, sum(key, b)...), nil
}

func sum(key, b []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return h.Sum(nil)
}

// readSetup reads exactly one message, whose first byte the port has taken.
func readSetup(r io.Reader) ([]byte, error) {
	b := make([]byte, setupHead, setupMax)
	b[0] = FirstByte
	if _, err := io.ReadFull(r, b[1:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if b[1] != setupVersion || n < setupFixed+macSize || n > setupMax-setupHead {
		return nil, errSetup
	}
	b = b[:setupHead+n]
	_, err := io.ReadFull(r, b[setupHead:])
	return b, err
}

// decodeSetup reads the fields; whether the message is genuine, verify says.
func decodeSetup(b []byte) (s setup, err error) {
	if len(b) < setupHead+setupFixed+macSize {
		return s, errSetup
	}
	be := binary.BigEndian
	p := b[setupHead : len(b)-macSize]
	s.from, s.fromBoot, s.to, s.toBoot, s.counter = be.Uint16(p), be.Uint32(p[2:]), be.Uint16(p[6:]), be.Uint32(p[8:]), be.Uint64(p[12:])
	flags := p[20]
	copy(s.endpoint[:], p[21:37])
	p = p[setupFixed:]
	var str [5]string
	for i := range str {
		if len(p) == 0 || int(p[0]) > len(p)-1 || p[0] > maxString {
			return s, errSetup
		}
		str[i], p = string(p[1:1+p[0]]), p[1+p[0]:]
	}
	if len(p) != 0 {
		return s, errSetup
	}
	s.caller = api.Caller{Realm: str[0], Proc: api.ProcID(str[1]), User: str[2], Address: str[3], Operator: flags&flagOperator != 0}
	if flags&flagLC != 0 {
		s.caller.Class = api.LC
	}
	s.service = str[4]
	return s, nil
}

// verify checks the signature of a message.
func verify(key, b []byte) bool {
	n := len(b) - macSize
	return n > 0 && hmac.Equal(b[n:], sum(key, b[:n]))
}

// status is the answer to a setup message.
type status byte

const (
	accepted status = iota
	refused         // as errRefused
	busy            // too many wait
	staleKey        // the key is of another boot; ask for a new one. Not signed
	badSetup        // forged, replayed or meant for another node. Not signed
)

// answer is signed with the message's key where there is one.
func answer(key []byte, counter uint64, st status) []byte {
	b := make([]byte, 0, answerSize)
	b = append(b, setupVersion, byte(st))
	b = binary.BigEndian.AppendUint64(b, counter)
	if key == nil {
		return append(b, make([]byte, macSize)...)
	}
	return append(b, sum(key, b)...)
}

// readAnswer reads exactly one answer and checks that it is the one to counter.
func readAnswer(r io.Reader, key []byte, counter uint64) (status, error) {
	b := make([]byte, answerSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return badSetup, err
	}
	st := status(b[1])
	if b[0] != setupVersion || binary.BigEndian.Uint64(b[2:]) != counter {
		return badSetup, errors.New("dialproxy: not an answer to this setup")
	}
	if st == staleKey || st == badSetup {
		return st, nil
	}
	if !verify(key, b) {
		return badSetup, errors.New("dialproxy: an answer with a wrong signature")
	}
	return st, nil
}
