package api

import "time"

// Methods of initd: what a realm wants started again when the whole system comes
// back. They act in the realm of the connection.
const (
	MInitAdd    = "init.add" // InitProc → InitProc
	MInitList   = "init.ls"  // → []InitProc
	MInitRemove = "init.rm"  // Ref
)

// Limits of what is registered.
const (
	MaxInitProcs = 1000      // of a realm
	MaxInitDesc  = 256 << 10 // bytes of one, as kept
)

// InitProc is a proc that is started once at each start of the whole system:
// when no node runs that ran before.
type InitProc struct {
	Name    string    `json:"name"` // 1 to 40 of a-z, 0-9 and -, unique in the realm
	Desc    ProcDesc  `json:"desc"` // its program is pinned when it is registered
	Now     bool      `json:"now,omitempty"`
	User    string    `json:"user,omitempty"` // whose it is
	Created time.Time `json:"created"`
	Boot    int64     `json:"boot,omitempty"` // of the system, at which it was started last
	Proc    ProcID    `json:"proc,omitempty"` // of that start
	State   string    `json:"state,omitempty"`
}
