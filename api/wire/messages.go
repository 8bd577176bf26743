package wire

import (
	"encoding/json"

	"sigmaos/api"
)

// decode walks a payload and fills, by tag, the strings, numbers and bytes given.
type decode struct {
	str []text
	num []number
	raw []piece
}

type (
	text struct {
		tag uint8
		to  *string
	}
	number struct {
		tag uint8
		to  *int64
	}
	piece struct {
		tag uint8
		to  *[]byte
	}
)

func (d decode) run(payload []byte) error {
	return Each(payload, func(tag uint8, v []byte) error {
		for _, f := range d.str {
			if f.tag == tag {
				*f.to = string(v)
				return nil
			}
		}
		for _, f := range d.raw {
			if f.tag == tag {
				*f.to = append([]byte(nil), v...)
				return nil
			}
		}
		for _, f := range d.num {
			if f.tag == tag {
				n, err := Int(v)
				*f.to = n
				return err
			}
		}
		return nil
	})
}

// EncodeStatus is the answer to WaitExit, and to WaitStart when the proc ended
// before it said Started.
func EncodeStatus(s api.Status) []byte {
	f := make(Fields, 0, 40+len(s.State)+len(s.Message)+len(s.Data))
	f.String(1, string(s.State))
	f.Int(2, int64(s.Code))
	f.Int(3, int64(s.Signal))
	if s.Message != "" {
		f.String(4, s.Message)
	}
	if len(s.Data) > 0 {
		f.Bytes(5, s.Data)
	}
	return f
}

// DecodeStatus reads EncodeStatus.
func DecodeStatus(p []byte) (s api.Status, err error) {
	var state string
	var code, sig int64
	err = decode{
		str: []text{{1, &state}, {4, &s.Message}},
		num: []number{{2, &code}, {3, &sig}},
		raw: []piece{{5, &s.Data}},
	}.run(p)
	s.State, s.Code, s.Signal = known(state), int(code), int(sig)
	return s, err
}

// known is a state in no memory of its own, where it is one of ours: many are kept.
func known(state string) api.State {
	for _, s := range [...]api.State{api.Exited, api.Signal, api.OOM, api.Evicted, api.Killed, api.Lost, api.Refused} {
		if state == string(s) {
			return s
		}
	}
	return api.State(state)
}

// Exit is what a proc says of its own end.
type Exit struct {
	Code    int64
	Message string
	Data    []byte
}

// Encode is the payload of Exited.
func (e Exit) Encode() []byte {
	var f Fields
	f.Int(1, e.Code)
	if e.Message != "" {
		f.String(2, e.Message)
	}
	if len(e.Data) > 0 {
		f.Bytes(3, e.Data)
	}
	return f
}

// DecodeExit reads the payload of Exited and holds it to its limits.
func DecodeExit(p []byte) (e Exit, err error) {
	err = decode{
		num: []number{{1, &e.Code}},
		str: []text{{2, &e.Message}},
		raw: []piece{{3, &e.Data}},
	}.run(p)
	if err == nil && (len(e.Data) > api.MaxData || len(e.Message) > api.MaxMessage) {
		err = api.E(api.TooLarge, "exited", "", "data of %d and message of %d bytes; the limits are %d and %d",
			len(e.Data), len(e.Message), api.MaxData, api.MaxMessage)
	}
	return e, err
}

// Target names a proc and how long it may take: the payload of WaitStart,
// WaitExit (ID alone) and Kill, and with Reason the answer to WaitKill.
type Target struct {
	ID      string
	GraceMS int64 // negative: the default; 0: at once
	Reason  string
}

// Encode writes the payload.
func (t Target) Encode() []byte {
	var f Fields
	if t.ID != "" {
		f.String(1, t.ID)
	}
	f.Int(2, t.GraceMS)
	if t.Reason != "" {
		f.String(3, t.Reason)
	}
	return f
}

// DecodeTarget reads it.
func DecodeTarget(p []byte) (t Target, err error) {
	err = decode{
		str: []text{{1, &t.ID}, {3, &t.Reason}},
		num: []number{{2, &t.GraceMS}},
	}.run(p)
	return t, err
}

// EncodeDial is the payload of Dial.
func EncodeDial(t api.Target) []byte {
	var f Fields
	for i, v := range []string{string(t.Endpoint), t.External, t.Path, t.Service, t.Node} {
		if v != "" {
			f.String(uint8(i+1), v)
		}
	}
	return f
}

// DecodeDial reads EncodeDial.
func DecodeDial(p []byte) (t api.Target, err error) {
	var ep string
	err = decode{str: []text{{1, &ep}, {2, &t.External}, {3, &t.Path}, {4, &t.Service}, {5, &t.Node}}}.run(p)
	t.Endpoint = api.Endpoint(ep)
	return t, err
}

// EncodePeer is the answer to Accept and Dial: who is at the other end.
func EncodePeer(p api.Peer) []byte {
	var f Fields
	for i, v := range []string{p.Realm, string(p.Proc), p.User, p.Node, p.Address, string(p.Endpoint)} {
		if v != "" {
			f.String(uint8(i+1), v)
		}
	}
	return f
}

// DecodePeer reads EncodePeer.
func DecodePeer(b []byte) (p api.Peer, err error) {
	var proc, ep string
	err = decode{str: []text{{1, &p.Realm}, {2, &proc}, {3, &p.User}, {4, &p.Node}, {5, &p.Address}, {6, &ep}}}.run(b)
	p.Proc, p.Endpoint = api.ProcID(proc), api.Endpoint(ep)
	return p, err
}

// EncodeEndpoint is the payload of Accept and CloseEndpoint and the answer to
// NewEndpoint.
func EncodeEndpoint(e api.Endpoint) []byte {
	var f Fields
	f.String(1, string(e))
	return f
}

// DecodeEndpoint reads EncodeEndpoint.
func DecodeEndpoint(p []byte) (api.Endpoint, error) {
	var ep string
	err := decode{str: []text{{1, &ep}}}.run(p)
	return api.Endpoint(ep), err
}

// EncodeError is the payload of a frame with FlagError.
func EncodeError(e *api.Error) []byte {
	var f Fields
	f.String(1, string(e.Kind))
	f.String(2, e.Op)
	f.String(3, e.Subject)
	f.String(4, e.Text)
	return f
}

// DecodeError reads it back; a payload that is none is an Internal error.
func DecodeError(p []byte) *api.Error {
	var e api.Error
	var kind string
	if err := (decode{str: []text{{1, &kind}, {2, &e.Op}, {3, &e.Subject}, {4, &e.Text}}}).run(p); err != nil {
		return api.E(api.Internal, "decode error", "", "%v", err)
	}
	e.Kind = api.Kind(kind)
	return &e
}

// Call is a request of the operator's and tenant's tools that is not on any
// hot path: a method's name, JSON, and raw bytes where a method takes some.
type Call struct {
	Method string
	Body   json.RawMessage
	Data   []byte
}

// Encode writes the payload of TCall; an answer has no Method.
func (c Call) Encode() []byte {
	var f Fields
	if c.Method != "" {
		f.String(1, c.Method)
	}
	if len(c.Body) > 0 {
		f.Bytes(2, c.Body)
	}
	if len(c.Data) > 0 {
		f.Bytes(3, c.Data)
	}
	return f
}

// DecodeCall reads it.
func DecodeCall(p []byte) (c Call, err error) {
	var body []byte
	err = decode{
		str: []text{{1, &c.Method}},
		raw: []piece{{2, &body}, {3, &c.Data}},
	}.run(p)
	c.Body = body
	return c, err
}
