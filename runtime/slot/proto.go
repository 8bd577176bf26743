package slot

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"time"
)

// The records of init/proto.h; the two change together.
const (
	protoVersion = 1
	configSize   = 56
	reportSize   = 64

	kindReady  = 1
	kindExit   = 2
	kindFailed = 3
)

// stages names the steps of init.c at which something can fail.
var stages = map[uint32]string{
	1: "read its configuration", 2: "join the binfs mount namespace", 3: "unshare mount and cgroup namespaces",
	4: "build the jail", 5: "mount the realm's programs", 6: "mount /proc (needs Linux 5.8 for subset=pid)",
	7: "pivot_root", 8: "set the host name", 9: "set resource limits", 10: "enter the AppArmor profile",
	11: "drop capabilities", 12: "change uid", 13: "set no_new_privs", 14: "apply Landlock",
	15: "load the system-call filter", 16: "map the board",
	32: "fork", 34: "receive the start message", 35: "open the program",
	36: "move descriptors", 37: "set the descriptor limit", 38: "exec",
}

// Stage numbers that callers tell apart.
const (
	StageOpen = 35
	StageExec = 38
)

func stageName(n uint32) string {
	if s, ok := stages[n]; ok {
		return s
	}
	return fmt.Sprintf("stage %d", n)
}

type config struct {
	uid, execFD           uint32
	filter                []byte // 8 bytes an instruction
	key                   uint64
	llSize                uint32
	llFS, llNet, llScoped uint64
	binfs, jail, apparmor string
}

func (c config) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, configSize+len(c.filter)+256)
	b = le.AppendUint32(b, protoVersion)
	b = le.AppendUint32(b, c.uid)
	b = le.AppendUint32(b, c.execFD)
	b = le.AppendUint32(b, uint32(len(c.filter)/8))
	b = le.AppendUint32(b, c.llSize)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, c.key)
	b = le.AppendUint64(b, c.llFS)
	b = le.AppendUint64(b, c.llNet)
	b = le.AppendUint64(b, c.llScoped)
	b = append(b, c.filter...)
	for _, s := range []string{c.binfs, c.jail, c.apparmor} {
		b = append(append(b, s...), 0)
	}
	return b
}

// command asks PID 1 to signal the proc with number seq; seq 0 acknowledges
// the listener.
func command(seq, signal uint32) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 8), seq)
	return binary.LittleEndian.AppendUint32(b, signal)
}

type report struct {
	kind, seq, stage, errno, status uint32
	cpu                             time.Duration
	maxRSS                          int64 // bytes
	taken, exec                     int64 // ns, CLOCK_MONOTONIC
}

func parseReport(b []byte) (r report, err error) {
	if len(b) != reportSize {
		return r, fmt.Errorf("slot: a report of %d bytes, want %d", len(b), reportSize)
	}
	le := binary.LittleEndian
	r.kind, r.seq, r.stage, r.errno, r.status = le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:])
	r.cpu = time.Duration(le.Uint64(b[24:])+le.Uint64(b[32:])) * time.Microsecond
	r.maxRSS = int64(le.Uint64(b[40:])) << 10
	r.taken, r.exec = int64(le.Uint64(b[48:])), int64(le.Uint64(b[56:]))
	return r, nil
}

// err is the failure a report tells of.
func (r report) err() error {
	return fmt.Errorf("slot: %s: %w", stageName(r.stage), syscall.Errno(r.errno))
}

// appendStart encodes a start message behind b.
func appendStart(b []byte, seq uint32, s *Spec) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, seq)
	b = le.AppendUint32(b, uint32(s.FDs))
	b = le.AppendUint32(b, uint32(1+len(s.Args)))
	b = le.AppendUint32(b, uint32(len(s.Env)))
	b = append(append(b, s.Program...), 0)
	b = append(append(b, s.Arg0...), 0)
	for _, a := range s.Args {
		b = append(append(b, a...), 0)
	}
	for _, e := range s.Env {
		b = append(append(b, e...), 0)
	}
	return b
}
