// Package api holds the nouns that every part of σOS shares: realms, procs,
// their descriptors and statuses, callers and errors. It has no behaviour
// beyond checking and printing itself, and imports the standard library only,
// because every proc links it.
//
// # Who is asking
//
// Every method of every role takes a [Caller]. Only transports make one, from
// what they know about the connection (the socket that sigmad put into a proc,
// the uid of the peer on the operator's socket), never from what a message
// says. A [ProcDesc] therefore has no field for its owner.
//
// # The life of a proc
//
// Spawn gives a [ProcID] at once. The proc is queued, placed, given a slot and
// exec'ed; it says Started when it is ready, and ends with exactly one
// [Status]. Nothing is started twice and nothing is restarted.
package api

import "time"

// Realm is a tenant: a name space, a share of the machines, and everything in
// it. ID is in keys, directories and cgroups; Name is for people.
type Realm struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Quota   Quota     `json:"quota"`
}

// Quota bounds a realm; zero means the default of the cluster.
type Quota struct {
	Procs   int   `json:"procs,omitempty"`   // queued and running together
	Memory  int64 `json:"memory,omitempty"`  // bytes of their limits
	MCPU    int64 `json:"mcpu,omitempty"`    // reserved by LC procs; 1000 is a core
	Scratch int64 `json:"scratch,omitempty"` // bytes of /ux on each node
}

// Caller is who a request came from.
type Caller struct {
	Node  string // node that took the request
	Realm string // realm id; "" for an operator who has not chosen one
	User  string // a proc inherits its spawner's user
	Proc  ProcID // "" for a program outside
	// Address is that of a client outside, host:port; "" for procs.
	Address string
	// Class of the calling proc; it decides about the priority of its traffic.
	Class Class
	// Operator is set for uid 0 on the operator's socket: may act in any realm
	// and on the cluster.
	Operator bool
}

// Class says what a proc was promised.
type Class uint8

const (
	BE Class = iota // best effort: idle CPU, shared fairly between realms
	LC              // latency critical: reserved CPU and memory
)

func (c Class) String() string {
	if c == LC {
		return "LC"
	}
	return "BE"
}

// MarshalText and UnmarshalText make the class "LC" or "BE" in JSON.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText accepts LC and BE in either case.
func (c *Class) UnmarshalText(b []byte) error {
	switch string(b) {
	case "LC", "lc":
		*c = LC
	case "BE", "be", "":
		*c = BE
	default:
		return E(Invalid, "class", string(b), "must be LC or BE")
	}
	return nil
}

// Program is one entry of a realm's /bin.
type Program struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}
