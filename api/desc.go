package api

import (
	"strings"
)

// Limits of a descriptor. They are checked where a Spawn enters the system.
const (
	MaxArgBytes  = 128 << 10 // args and env together, terminators included
	MaxArgs      = 16 << 10  // args and env, counted
	MaxPath      = 4096
	MaxMCPU      = 1 << 20
	MaxMemory    = 1 << 46
	MinMemory    = 1 << 20
	MaxFDs       = 4096
	MaxThreads   = 4096
	MaxData      = 4 << 10 // result data of Exited
	MaxMessage   = 1 << 10 // message of Exited
	MaxApart     = 64      // ids in Apart
	MaxNear      = 4       // nodes in Near
	DefaultMem   = 64 << 20
	DefaultFDs   = 1024
	DefaultPids  = 256
	DefaultLCCPU = 1000
)

// ProcDesc says what to run and what it needs. Whoever spawns is known from
// the connection and is not in here.
type ProcDesc struct {
	// Program is a path in the realm (/bin/NAME) or a content digest. The
	// digest is pinned when Spawn is taken: overwriting the path later changes
	// nothing for this proc.
	Program string   `json:"program"`
	Args    []string `json:"args,omitempty"` // argv[1:]; argv[0] is Program
	Env     []string `json:"env,omitempty"`  // KEY=VALUE; nothing is inherited
	// Name is the readable part of the id; by default from Program.
	Name    string `json:"name,omitempty"`
	Class   Class  `json:"class"`
	MCPU    int64  `json:"mcpu,omitempty"`    // LC: reserved, 1000 is one core; 0 is 1000. BE: must be 0
	Memory  int64  `json:"memory,omitempty"`  // bytes, reserved and the limit; 0 is 64 MiB
	FDs     int64  `json:"fds,omitempty"`     // open descriptors; 0 is 1024
	Threads int64  `json:"threads,omitempty"` // 0 is 256
	Domain  string `json:"domain,omitempty"`  // LC: failure domain label to run in; "" is any
	// Group and Apart spread LC procs over failure domains: no two procs of a group
	// of the realm are in one domain, and none is in that of a proc named in Apart.
	// A node without a label is a domain of its own.
	Group string   `json:"group,omitempty"`
	Apart []string `json:"apart,omitempty"` // ids
	// Node is the name of the node that a BE proc is to run on, whatever others have
	// room: for who tests a node. It waits there, outside the queue.
	Node string `json:"node,omitempty"`
	// Near names nodes on which a BE proc had better run, since what it reads is there.
	// One of them gets it before others, where it has room; nobody waits for it.
	Near []string `json:"near,omitempty"`
}

// Normalize fills in the defaults and checks every field against the limits.
func (d *ProcDesc) Normalize() error {
	bad := func(kind Kind, format string, args ...any) error {
		return E(kind, "spawn", printable(d.Program), format, args...)
	}
	if d.Program == "" {
		return bad(Invalid, "no program named; give a path such as /bin/hello or a digest")
	}
	if len(d.Program) > MaxPath {
		d.Program = d.Program[:64] + "…"
		return bad(TooLarge, "the program's path is longer than %d bytes", MaxPath)
	}
	size := 0
	for _, s := range [][]string{{d.Program, d.Name, d.Domain, d.Group, d.Node}, d.Args, d.Env, d.Apart, d.Near} {
		for _, a := range s {
			if strings.IndexByte(a, 0) >= 0 {
				return bad(Invalid, "a NUL byte in path, args or env: Unix strings end there")
			}
			size += len(a) + 1
		}
	}
	if size > MaxArgBytes || len(d.Args)+len(d.Env) > MaxArgs {
		return bad(TooLarge, "args and env are %d bytes in %d strings; the limits are %d bytes and %d strings (pass large input in a file)",
			size, len(d.Args)+len(d.Env), MaxArgBytes, MaxArgs)
	}
	for _, e := range d.Env {
		if strings.IndexByte(e, '=') <= 0 {
			return bad(Invalid, "env entry %q is not KEY=VALUE", printable(e))
		}
	}
	if d.Class > LC {
		return bad(Invalid, "class %d is neither BE (0) nor LC (1)", d.Class)
	}
	if d.Class == BE && d.MCPU != 0 {
		return bad(Invalid, "mcpu %d on a best-effort proc: only LC procs reserve CPU", d.MCPU)
	}
	if d.Class == LC && d.MCPU == 0 {
		d.MCPU = DefaultLCCPU
	}
	for _, f := range []struct {
		name          string
		v             *int64
		def, min, max int64
	}{
		{"mcpu", &d.MCPU, 0, 0, MaxMCPU},
		{"memory", &d.Memory, DefaultMem, MinMemory, MaxMemory},
		{"fds", &d.FDs, DefaultFDs, 4, MaxFDs},
		{"threads", &d.Threads, DefaultPids, 1, MaxThreads},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < f.min || *f.v > f.max {
			return bad(Invalid, "%s %d is outside %d … %d", f.name, *f.v, f.min, f.max)
		}
	}
	if len(d.Domain) > 64 || len(d.Group) > 64 {
		return bad(TooLarge, "a failure domain or group longer than 64 bytes")
	}
	if len(d.Apart) > MaxApart {
		return bad(TooLarge, "apart from %d procs; the limit is %d (procs that spread can share a group)", len(d.Apart), MaxApart)
	}
	if len(d.Node) > 64 || d.Node != "" && d.Class == LC {
		return bad(Invalid, "node %q: only a best-effort proc is bound to a node, whose name has at most 64 bytes; an LC proc has a failure domain", printable(d.Node))
	}
	if len(d.Near) > MaxNear || len(d.Near) > 0 && d.Class == LC {
		return bad(Invalid, "near %d nodes: only a best-effort proc names nodes on which it had better run, at most %d; an LC proc has a failure domain", len(d.Near), MaxNear)
	}
	for _, n := range d.Near {
		if n == "" || len(n) > 64 {
			return bad(Invalid, "near node %q: the name of a node has 1 to 64 bytes", printable(n))
		}
	}
	if d.Class == BE && (d.Domain != "" || d.Group != "" || len(d.Apart) > 0) {
		return bad(Invalid, "a failure domain, group or apart on a best-effort proc: only LC procs are given a place; use --class LC")
	}
	return nil
}

// printable shortens s for an error text and hides control bytes.
func printable(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
