package api

import "time"

// Methods of a Call: what the tools ask for beside the proc calls. Bodies are
// the JSON of the types named here; a method on procs acts in the realm of the
// connection, and takes any unique prefix of a proc id.
const (
	MInfo        = "cluster.info"      // → ClusterInfo
	MRealmCreate = "realm.create"      // Realm (Name, Quota) → Realm; operator
	MRealmList   = "realm.ls"          // → []Realm; operator
	MRealmToken  = "realm.token"       // TokenRequest → TokenFile; operator
	MRealmS3     = "realm.s3"          // S3Request → S3Info; operator
	MRealmDB     = "realm.db"          // DBRequest → DBInfo; operator
	MRealmRemove = "realm.rm"          // Ref; operator. Ends everything in it
	MPutBegin    = "program.put.begin" // PutBegin → PutState
	MPutData     = "program.put.data"  // PutState + Data, in order
	MPutEnd      = "program.put.end"   // PutState → Program
	MPrograms    = "program.ls"        // → []Program
	MProcs       = "proc.ls"           // ProcFilter → []ProcInfo
	MWhy         = "proc.why"          // Ref → Why
	MLogs        = "proc.logs"         // LogQuery → many LogRecord + Data, then an empty end
	MDump        = "proc.dump"         // Ref → Dump
	MNodes       = "node.ls"           // → []NodeInfo; operator
	MEtcdPeers   = "etcd.peers"        // → []EtcdPeer; operator
	MNodeRemove  = "node.rm"           // Ref → NodeRemoved; operator
	MNodeDrain   = "node.drain"        // DrainRequest → DrainState; operator
	MRotate      = "cluster.rotate"    // RotateRequest → KeyInfo; operator
	MClusterTok  = "cluster.token"     // → TokenFile: what admits a node; operator
	MProbe       = "etcd.probe"        // EtcdProbe → EtcdProbed; operator, for benches
	MTop         = "node.top"          // → Top
	MEndpoints   = "ep.ls"             // → []EndpointInfo
)

// Ref names one thing: a realm's name, a proc's id or prefix.
type Ref struct {
	Name string `json:"name"`
}

// ClusterInfo is what a client learns on connecting.
type ClusterInfo struct {
	Name     string    `json:"name"`
	Node     string    `json:"node"`
	Number   uint16    `json:"number"` // of the node, in proc ids and endpoints
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Metrics  string    `json:"metrics,omitempty"` // host:port of /metrics
	Gateway  string    `json:"gateway,omitempty"` // host:port for programs outside
	Started  time.Time `json:"started"`
	Realm    string    `json:"realm,omitempty"` // of this connection
	Layers   []string  `json:"layers"`          // isolation layers on: seccomp, landlock, apparmor, …
	Cgroup   string    `json:"cgroup"`          // v1, hybrid or v2
	Insecure bool      `json:"insecure,omitempty"`
	Cores    int       `json:"cores,omitempty"` // best-effort procs that can compute at a time, on all nodes
}

// NodeInfo is a node as the one that answers knows it.
type NodeInfo struct {
	Name    string   `json:"name"`
	Number  uint16   `json:"number"`
	Boot    uint32   `json:"boot"`
	Addr    string   `json:"addr,omitempty"`
	Roles   []string `json:"roles"`
	Domain  string   `json:"domain,omitempty"`
	Version string   `json:"version"`
	Leaving bool     `json:"leaving,omitempty"`
	// Draining says that it is given nothing new.
	Draining bool `json:"draining,omitempty"`
	Self     bool `json:"self,omitempty"` // it answers
}

// DrainRequest has a node given nothing new, or again.
type DrainRequest struct {
	Name    string `json:"name"`
	Off     bool   `json:"off,omitempty"`      // end it
	Look    bool   `json:"look,omitempty"`     // only tell how it stands
	GraceMS int64  `json:"grace_ms,omitempty"` // that procs have, once they were asked to end
	All     bool   `json:"all,omitempty"`      // ask best-effort procs too
}

// DrainState is what still depends on a node.
type DrainState struct {
	Name     string `json:"name"`
	Draining bool   `json:"draining"`
	Here     int    `json:"here"` // procs that run there
	Away     int    `json:"away"` // that were spawned there and run elsewhere, or wait: they end with the node
}

// NodeRemoved is what became of node rm.
type NodeRemoved struct {
	Name   string `json:"name"`
	Number uint16 `json:"number"`
	Peer   bool   `json:"peer,omitempty"` // its etcd peer is still to be taken out
}

// EtcdPeer is one of the peers that keep the cluster's record.
type EtcdPeer struct {
	Node   string `json:"node"`
	ID     string `json:"id"`
	Voter  bool   `json:"voter"` // else it follows, to be ready
	Leader bool   `json:"leader,omitempty"`
	Alive  bool   `json:"alive"` // its node
}

// RotateRequest replaces the cluster's keys, or ends the old ones.
type RotateRequest struct {
	DropOld bool `json:"drop_old,omitempty"`
}

// KeyInfo says how many generations of the cluster's keys are accepted.
type KeyInfo struct {
	Generations int `json:"generations"`
}

// EtcdProbe asks for raw puts and gets of etcd.
type EtcdProbe struct {
	Puts, Gets, Size, Callers int
}

// EtcdProbed is how long each took, and what the names have written so far.
type EtcdProbed struct {
	PutNS, GetNS []int64
	WallNS       int64 // of all puts
	Writes       int64 // that the names on this node have asked of etcd, …
	Bytes        int64 // … and the bytes of their keys and values
}

// TokenRequest asks for what a program outside shows to be a user of a realm.
type TokenRequest struct {
	Realm   string        `json:"realm"`
	User    string        `json:"user,omitempty"`
	TTL     time.Duration `json:"ttl"`
	Gateway string        `json:"gateway,omitempty"` // host:port at which they reach it; "" is this node's
}

// TokenFile is the file for them.
type TokenFile struct {
	Text []byte `json:"text"`
}

// S3Request sets where a realm's buckets are.
type S3Request struct {
	Realm     string `json:"realm"`
	Own       bool   `json:"own,omitempty"`      // in the cluster's own store; nothing else counts
	Endpoint  string `json:"endpoint,omitempty"` // http(s)://HOST[:PORT]; "" is AWS's for Region
	Region    string `json:"region,omitempty"`
	AccessKey string `json:"access_key,omitempty"`
	Secret    string `json:"secret,omitempty"`
	Virtual   bool   `json:"virtual,omitempty"` // buckets are in host names
	Prefix    string `json:"prefix,omitempty"`  // of the realm's buckets' names in the store
}

// S3Info is what was set, without the key. Problem says what the store answered
// when it was tried.
type S3Info struct {
	Realm    string `json:"realm"`
	Own      bool   `json:"own,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Region   string `json:"region,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Problem  string `json:"problem,omitempty"`
}

// DBRequest sets where a realm's database is.
type DBRequest struct {
	Realm    string `json:"realm"`
	Own      bool   `json:"own,omitempty"` // an SQLite of the cluster's; nothing else counts
	URL      string `json:"url,omitempty"` // postgres://USER@HOST:PORT/DATABASE of who makes roles and databases
	Password string `json:"password,omitempty"`
}

// DBInfo is what was set, without passwords. Problem says what the server answered
// when it was tried.
type DBInfo struct {
	Realm    string `json:"realm"`
	Own      bool   `json:"own,omitempty"`
	URL      string `json:"url,omitempty"`
	Database string `json:"database,omitempty"` // the realm's on that server, and its role
	Problem  string `json:"problem,omitempty"`
}

// PutBegin announces an upload; when the realm has the digest already nothing
// is sent.
type PutBegin struct {
	Name   string `json:"name"` // entry in /bin; "" keeps it reachable by digest alone
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// PutState names an upload under way.
type PutState struct {
	Upload string `json:"upload,omitempty"`
	Known  bool   `json:"known,omitempty"` // the digest is here; the name now points to it
}

// ProcFilter chooses procs to list.
type ProcFilter struct {
	All    bool `json:"all,omitempty"`    // ended ones too
	Realms bool `json:"realms,omitempty"` // of every realm; operator
	Start  bool `json:"start,omitempty"`  // with how their programs came
}

// ProcInfo is one proc as ps shows it.
type ProcInfo struct {
	ID      ProcID    `json:"id"`
	Short   string    `json:"short"` // shortest prefix that is unique in the realm now
	Realm   string    `json:"realm"`
	Node    string    `json:"node"`
	Parent  ProcID    `json:"parent,omitempty"`
	User    string    `json:"user,omitempty"`
	Program string    `json:"program"`
	Digest  string    `json:"digest"`
	Args    []string  `json:"args,omitempty"`
	Class   Class     `json:"class"`
	Near    []string  `json:"near,omitempty"` // nodes on which it had better run
	MCPU    int64     `json:"mcpu,omitempty"`
	Memory  int64     `json:"memory"` // bytes, the limit
	State   State     `json:"state"`
	Status  *Status   `json:"status,omitempty"` // set once final
	Created time.Time `json:"created"`
	Stamps  Stamps    `json:"stamps"`
	CPU     int64     `json:"cpu_ns,omitempty"`
	RSS     int64     `json:"rss,omitempty"` // bytes; at the end: the peak
	PID     int       `json:"pid,omitempty"` // on its machine, while it runs; operator

	Start *ColdStart `json:"start,omitempty"` // how its program came, once it has a σcontainer and where that was asked
}

// DeniedCall is a system call that a proc tried and may not make.
type DeniedCall struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Why explains a proc on one screen.
type Why struct {
	Proc   ProcInfo     `json:"proc"`
	Reason string       `json:"reason"`           // one line: what happened
	Nodes  []string     `json:"nodes,omitempty"`  // per node, why it cannot run there (yet)
	Start  *ColdStart   `json:"start,omitempty"`  // once it has a σcontainer
	Denied []DeniedCall `json:"denied,omitempty"` // by name
	Tail   []string     `json:"tail,omitempty"`   // last lines of output
	Advice []string     `json:"advice,omitempty"` // what to do
}

// ColdStart is how a proc's program came to its node: it was there, or it came
// with this start.
type ColdStart struct {
	Warm     bool   `json:"warm"`
	From     string `json:"from,omitempty"`     // node, store's path, or "own disk"
	Pages    int64  `json:"pages,omitempty"`    // of 4 KiB, so far
	Bytes    int64  `json:"bytes,omitempty"`    // likewise
	Requests int64  `json:"requests,omitempty"` // to nodes and stores
	Took     int64  `json:"took_ns,omitempty"`  // all requests together
}

// LogQuery asks for a proc's output.
type LogQuery struct {
	Name   string `json:"name"`
	Follow bool   `json:"follow,omitempty"`
	Lines  int    `json:"lines,omitempty"`  // last lines only; 0 is all
	Stream int    `json:"stream,omitempty"` // 1 stdout, 2 stderr, 0 both
}

// LogRecord heads a piece of output; the bytes are the call's Data.
type LogRecord struct {
	Stream  int       `json:"stream"`
	Time    time.Time `json:"time"`
	Dropped bool      `json:"dropped,omitempty"` // Data is a sentence about missing lines
}

// Dump is where a proc hangs.
type Dump struct {
	Go     bool   `json:"go"`     // the stacks went to the proc's stderr (SIGQUIT; it ends)
	Kernel string `json:"kernel"` // kernel stack and wait channel of each thread
}

// Top is one sample of a node.
type Top struct {
	Time     time.Time  `json:"time"`
	Node     string     `json:"node"`
	Cores    int        `json:"cores"`
	Memory   int64      `json:"memory"`   // bytes this node offers
	Reserved int64      `json:"reserved"` // mCPU of LC procs
	MemLC    int64      `json:"mem_lc"`   // bytes reserved by LC procs
	MemBE    int64      `json:"mem_be"`   // bytes promised to BE procs
	Queued   int        `json:"queued"`
	Running  int        `json:"running"`
	Realms   []TopRealm `json:"realms"`
	Procs    []ProcInfo `json:"procs"` // running, CPU and RSS filled in
}

// TopRealm is a realm's share of a node.
type TopRealm struct {
	Name    string `json:"name"`
	Queued  int    `json:"queued"`
	Running int    `json:"running"`
	CPU     int64  `json:"cpu_ns"` // since the realm's first proc here
	Slots   int    `json:"slots"`
}
