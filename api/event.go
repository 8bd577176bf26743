package api

import "time"

// MEvents reads the event log: EventQuery → EventPage. A tenant reads its realm's;
// an operator who has chosen no realm reads all and the cluster's.
const MEvents = "events"

// Kinds of events.
const (
	EventCreated  = "created"  // a realm
	EventRemoved  = "removed"  // a realm, a node
	EventSpawned  = "spawned"  // a proc
	EventKilled   = "killed"   // somebody asked for a proc's end
	EventEnded    = "ended"    // a proc; Detail is its status
	EventDialled  = "dialled"  // Detail is the address outside
	EventRestored = "restored" // the cluster's realms from a backup
	EventDrained  = "drained"  // a node; Detail says which, and undrained
	EventMissing  = "missing"  // so many events came too fast to be kept
)

// MaxEvents of one page.
const MaxEvents = 1000

// Event is one thing that happened on a node. Those of one node are in the order
// in which they happened; those of different nodes are in that of their clocks.
type Event struct {
	Seq    int64     `json:"seq"` // grows; of the node and realm
	Time   time.Time `json:"time"`
	Node   string    `json:"node"`
	Realm  string    `json:"realm,omitempty"` // name where it is known, else id; "" is the cluster
	Kind   string    `json:"kind"`
	Proc   ProcID    `json:"proc,omitempty"`   // what it happened to
	By     ProcID    `json:"by,omitempty"`     // the proc that did it
	User   string    `json:"user,omitempty"`   // who did it; "operator" for one
	Detail string    `json:"detail,omitempty"` // program, status, address
}

// EventQuery asks for events after a time and after those already seen.
type EventQuery struct {
	Since time.Time        `json:"since"`
	After map[string]int64 `json:"after,omitempty"` // by node; of the last page
	All   bool             `json:"all,omitempty"`   // every realm; operator
}

// EventPage is what there is, and how to ask for what comes next.
type EventPage struct {
	Events  []Event          `json:"events"`
	After   map[string]int64 `json:"after"`
	More    bool             `json:"more,omitempty"`    // there is more already
	Missing []string         `json:"missing,omitempty"` // nodes that did not answer
}
