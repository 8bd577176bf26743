package schedd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
)

// dump shows where a proc hangs: the kernel's view of each thread, and for a Go
// program SIGQUIT, which prints all goroutines to its stderr and ends it.
func (s *Schedd) dump(ctx context.Context, c api.Caller, name string) (d api.Dump, err error) {
	p, node, id, err := s.locate(ctx, c, "dump", name)
	switch {
	case err != nil:
		return d, err
	case p == nil:
		err = s.askNode(ctx, node, PeerDump, peerAsk{Caller: c, ID: id}, &d)
		return d, err
	}
	return s.dumpOf(ctx, c, p, true)
}

// dumpOf dumps a proc that is here, or has its node do it.
func (s *Schedd) dumpOf(ctx context.Context, c api.Caller, p *proc, follow bool) (d api.Dump, err error) {
	s.mu.Lock()
	sl, seq, there := p.slot, p.seq, s.thereLocked(p)
	s.mu.Unlock()
	switch {
	case follow && there != 0:
		err = s.askNode(ctx, there, PeerDump, peerAsk{Caller: c, ID: string(p.id), Here: true}, &d)
		return d, err
	case sl == nil:
		return d, api.E(api.NotFound, "dump", string(p.id), "it does not run; see sigmactl why")
	}
	pids, err := sl.Procs()
	if err != nil {
		return d, err
	}
	var b strings.Builder
	for _, pid := range pids {
		if pid == sl.InitPid() {
			continue
		}
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, t := range threads {
			state, _ := os.ReadFile(t + "/syscall")
			wchan, _ := os.ReadFile(t + "/wchan")
			stack, _ := os.ReadFile(t + "/stack")
			fmt.Fprintf(&b, "thread %s  waits in %s  syscall %s%s\n", filepath.Base(t), wchan, state, stack)
		}
		if s.isGo(p) {
			d.Go = true
		}
	}
	d.Kernel = b.String()
	if d.Go {
		if err := sl.Signal(seq, syscall.SIGQUIT); err != nil {
			return d, err
		}
	}
	return d, nil
}

// isGo looks for the mark that Go's linker leaves in every program. It reads
// the stored file, never the mount, and parses nothing: the file is a tenant's.
func (s *Schedd) isGo(p *proc) bool {
	f, err := os.Open(s.cfg.Store.Path(p.realm.rec.ID, binfs.Digest(p.prog.Digest)))
	if err != nil {
		return false
	}
	defer f.Close()
	mark := []byte("\xff Go buildinf:")
	buf := make([]byte, 64<<10)
	keep := 0
	for read := 0; read < 256<<20; {
		n, err := f.Read(buf[keep:])
		if bytes.Contains(buf[:keep+n], mark) {
			return true
		}
		if err != nil {
			return false
		}
		read += n
		total := keep + n
		keep = copy(buf, buf[max(0, total-len(mark)):total])
	}
	return false
}
