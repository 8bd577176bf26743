package port

import (
	"encoding/binary"
	"io"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// JoinALPN is the protocol by which a new node asks for a certificate.
const JoinALPN = "sigma-join/1"

// A join message is a head of 6 bytes (u32 length of the rest, u8 version 1, u8
// kind) and fields as in api/wire.
const (
	joinVersion = 1

	kindHello   = 1 // server: nonce
	kindRequest = 2 // joining node: a proof of proofSize bytes, and fields
	kindAnswer  = 3 // server: JoinAnswer
	kindRefusal = 4 // server: an error

	nonceSize  = 32
	proofSize  = 32
	maxRequest = 16 << 10
	maxAnswer  = 1 << 20
	maxMembers = 4096
	maxExtra   = 64 << 10
)

func writeJoin(w io.Writer, kind byte, body []byte) error {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 6+len(body)), uint32(len(body)))
	b = append(b, joinVersion, kind)
	_, err := w.Write(append(b, body...))
	return err
}

// readJoin reads one message of at most limit bytes.
func readJoin(r io.Reader, limit int) (kind byte, body []byte, err error) {
	var h [6]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(h[:])
	switch {
	case h[4] != joinVersion:
		return 0, nil, api.E(api.Unsupported, "join", "", "a message of version %d; this is version %d", h[4], joinVersion)
	case n > uint32(limit):
		return 0, nil, api.E(api.TooLarge, "join", "", "a message of %d bytes; the limit is %d", n, limit)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return h[5], body, err
}

// JoinRequest is what a node that has the token asks for.
type JoinRequest struct {
	Name    string // it wants to be called
	Version int    // of the wire formats it speaks
	CSR     []byte // checked: signed by its key
	Cluster string // it belonged to before, if it did
	From    string // address it came from; the transport's word, not the node's
}

func (r JoinRequest) encode() []byte {
	var f wire.Fields
	f.String(1, r.Name)
	f.Int(2, int64(r.Version))
	f.Bytes(3, r.CSR)
	if r.Cluster != "" {
		f.String(4, r.Cluster)
	}
	return f
}

func decodeJoinRequest(b []byte) (r JoinRequest, err error) {
	err = wire.Each(b, func(tag uint8, v []byte) error {
		switch tag {
		case 1:
			r.Name = string(v)
		case 2:
			n, err := wire.Int(v)
			r.Version = int(n)
			return err
		case 3:
			r.CSR = append([]byte(nil), v...)
		case 4:
			r.Cluster = string(v)
		}
		return nil
	})
	return r, err
}

// JoinAnswer makes a node a member.
type JoinAnswer struct {
	Cluster string
	Number  uint16 // the node's, within the cluster
	Chain   []byte // its certificate, as pki.Authority.Sign writes it
	Trust   []byte // as pki.Trust.Marshal writes it
	Members []Member
	Extra   []byte // what the roles want a new node to know; at most 64 KiB
}

// Member is a node that a new one can turn to.
type Member struct {
	Name   string
	Number uint16
	Addr   string // HOST:PORT of its port
}

func (a JoinAnswer) encode() ([]byte, error) {
	if len(a.Members) > maxMembers || len(a.Extra) > maxExtra {
		return nil, api.E(api.Internal, "join", "", "an answer with %d members and %d bytes more; the limits are %d and %d", len(a.Members), len(a.Extra), maxMembers, maxExtra)
	}
	var f wire.Fields
	f.String(1, a.Cluster)
	f.Int(2, int64(a.Number))
	f.Bytes(3, a.Chain)
	f.Bytes(4, a.Trust)
	for _, m := range a.Members {
		var g wire.Fields
		g.String(1, m.Name)
		g.Int(2, int64(m.Number))
		g.String(3, m.Addr)
		f.Bytes(5, g)
	}
	if len(a.Extra) > 0 {
		f.Bytes(6, a.Extra)
	}
	return f, nil
}

func decodeJoinAnswer(b []byte) (a JoinAnswer, err error) {
	err = wire.Each(b, func(tag uint8, v []byte) error {
		var err error
		switch tag {
		case 1:
			a.Cluster = string(v)
		case 2:
			a.Number, err = nodeNumber(v)
		case 3:
			a.Chain = append([]byte(nil), v...)
		case 4:
			a.Trust = append([]byte(nil), v...)
		case 5:
			var m Member
			if len(a.Members) == maxMembers {
				return api.E(api.TooLarge, "join", "", "more than %d members", maxMembers)
			}
			m, err = decodeMember(v)
			a.Members = append(a.Members, m)
		case 6:
			a.Extra = append([]byte(nil), v...)
		}
		return err
	})
	return a, err
}

func decodeMember(b []byte) (m Member, err error) {
	err = wire.Each(b, func(tag uint8, v []byte) error {
		var err error
		switch tag {
		case 1:
			m.Name = string(v)
		case 2:
			m.Number, err = nodeNumber(v)
		case 3:
			m.Addr = string(v)
		}
		return err
	})
	return m, err
}

func nodeNumber(v []byte) (uint16, error) {
	n, err := wire.Int(v)
	if err == nil && (n < 0 || n > 1<<16-1) {
		err = api.E(api.Invalid, "join", "", "a node number of %d", n)
	}
	return uint16(n), err
}
