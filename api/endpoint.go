package api

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// Endpoint names a listening proc: an opaque token of the realm that made it.
// It is text, so that it can be stored in a file or passed in an argument. It
// holds where to ask and 128 bits of chance, nothing about the realm: whoever
// has the token of another realm has nothing.
type Endpoint string

const (
	endpointPrefix = "ep1-"
	endpointBytes  = 2 + 4 + 16
	endpointLen    = len(endpointPrefix) + 36
)

var endpointCode = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// EndpointID tells the endpoints of one boot of a node apart.
type EndpointID [16]byte

// NewEndpoint makes a token at a node.
func NewEndpoint(node uint16, boot uint32) (Endpoint, EndpointID) {
	var b [endpointBytes]byte
	binary.BigEndian.PutUint16(b[:], node)
	binary.BigEndian.PutUint32(b[2:], boot)
	rand.Read(b[6:])
	return Endpoint(endpointPrefix + endpointCode.EncodeToString(b[:])), EndpointID(b[6:])
}

// Parse takes a token apart; ok is false for anything that is no token.
func (e Endpoint) Parse() (node uint16, boot uint32, id EndpointID, ok bool) {
	if len(e) != endpointLen || !strings.HasPrefix(string(e), endpointPrefix) {
		return 0, 0, id, false
	}
	b, err := endpointCode.DecodeString(string(e[len(endpointPrefix):]))
	// The last letter has bits to spare: one token has one spelling.
	if err != nil || endpointCode.EncodeToString(b) != string(e[len(endpointPrefix):]) {
		return 0, 0, id, false
	}
	return binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:]), EndpointID(b[6:]), true
}

// Short is enough of a token to tell it from others in a list.
func (e Endpoint) Short() string {
	if len(e) > 24 {
		return string(e[:24]) + "…"
	}
	return string(e)
}

// Target is what a Dial wants; exactly one field is set.
type Target struct {
	Endpoint Endpoint
	External string // host:port in the outside world
	Path     string // a published service or an endpoint link in the realm
	Service  string // of σOS itself: "named", "ux"
	Node     string // with Service: on that node; "" is whoever has it
}

// Peer is who is at the other end of a connection, as σOS knows it.
type Peer struct {
	Realm    string // realm id
	Proc     ProcID // "" for a program outside
	User     string
	Node     string // where it runs, or came in
	Address  string // of a client outside σOS, host:port; "" for procs
	Endpoint Endpoint
}

// EndpointInfo is one endpoint as `sigmactl ep ls` shows it.
type EndpointInfo struct {
	Endpoint Endpoint  `json:"endpoint"`
	Realm    string    `json:"realm"`
	Node     string    `json:"node"`
	Proc     ProcID    `json:"proc,omitempty"` // who listens
	User     string    `json:"user,omitempty"`
	Created  time.Time `json:"created"`
	Accepted int64     `json:"accepted"` // connections handed to the listener
	Waiting  int       `json:"waiting"`  // connections not accepted yet
	Refused  int64     `json:"refused"`  // because too many waited
}
