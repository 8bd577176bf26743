package schedd

import (
	"context"
	"encoding/json"
	"fmt"
	goruntime "runtime"
	"slices"
	"sort"
	"strings"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/seccomp"
	"sigmaos/runtime/slot"
)

// How much of its last output why shows.
const (
	tailBytes = 4 << 10
	tailLines = 12
)

// why explains a proc: what happened, what was denied, what it said last, and
// what its owner can do.
func (s *Schedd) why(ctx context.Context, c api.Caller, name string) (w api.Why, err error) {
	p, node, id, err := s.locate(ctx, c, "why", name)
	switch {
	case err != nil:
		return w, err
	case p == nil:
		err = s.askNode(ctx, node, PeerWhy, peerAsk{Caller: c, ID: id}, &w)
		return w, err
	}
	return s.whyOf(ctx, c, p, true), nil
}

// thereLocked is the other node that runs p, or 0.
func (s *Schedd) thereLocked(p *proc) uint16 {
	if p.guest || p.state.Final() || p.node == s.cfg.NodeNum {
		return 0
	}
	return p.node
}

// whyOf explains a proc that this node knows. What only the node knows that runs it,
// is asked of it.
func (s *Schedd) whyOf(ctx context.Context, c api.Caller, p *proc, follow bool) api.Why {
	s.mu.Lock()
	w := api.Why{Proc: s.info(p)}
	there, queued := s.thereLocked(p), p.state == api.Queued
	denied := p.denied
	sl := p.slot
	if sl != nil {
		denied = sl.Denied()
	}
	list := []api.ProcInfo{w.Proc}
	shorten(list, p.realm)
	w.Proc = list[0]
	s.mu.Unlock()

	if sl != nil {
		if st, err := sl.Stats(); err == nil {
			w.Proc.RSS = st.Memory
			if p.seq == 1 { // else the slot's time is that of earlier procs, too
				w.Proc.CPU = int64(st.CPU)
			}
		}
	}
	for nr, n := range denied {
		w.Denied = append(w.Denied, api.DeniedCall{Name: seccomp.Name(goruntime.GOARCH, nr), Count: n})
	}
	if there != 0 && follow {
		var seen api.Why
		if s.askNode(ctx, there, PeerWhy, peerAsk{Caller: c, ID: string(p.id), Here: true}, &seen) == nil {
			w.Denied, w.Start = seen.Denied, seen.Start
			w.Proc.CPU, w.Proc.RSS, w.Proc.PID = seen.Proc.CPU, seen.Proc.RSS, seen.Proc.PID
		}
	}
	if queued {
		w.Nodes = s.missing(ctx, p)
	}
	sort.Slice(w.Denied, func(i, j int) bool { return w.Denied[i].Name < w.Denied[j].Name })
	if tail, err := s.cfg.Logs.Tail(p.realm.rec.ID, string(p.id), tailBytes); err == nil && len(tail) > 0 {
		w.Tail = strings.Split(strings.TrimRight(string(tail), "\n"), "\n")
		w.Tail = w.Tail[max(0, len(w.Tail)-tailLines):]
	}
	if p.guest || p.node == s.cfg.NodeNum {
		w.Start = s.howCame(p)
	}
	w.Reason, w.Advice = explain(w)
	return w
}

// howCame says whether p's start was warm, or where its program came from.
func (s *Schedd) howCame(p *proc) *api.ColdStart {
	s.mu.Lock()
	slot := p.stamps.Slot
	s.mu.Unlock()
	if slot == 0 || s.cfg.ColdStart == nil {
		return nil
	}
	return startOf(s.cfg.ColdStart(p.realm.rec.ID, p.prog.Digest), slot)
}

// startOf is what a start was that had its slot then.
func startOf(c *binfs.Cold, slot int64) *api.ColdStart {
	if c == nil || c.Looked < slot {
		return &api.ColdStart{Warm: true}
	}
	return &api.ColdStart{From: c.From, Pages: (c.Bytes + 4095) / 4096, Bytes: c.Bytes, Requests: c.Requests, Took: c.Took}
}

// missing says per node what a queued proc waits for.
func (s *Schedd) missing(ctx context.Context, p *proc) []string {
	_, has := s.place.Where(p.id)
	s.mu.Lock()
	order, d := p.order, p.desc
	s.mu.Unlock()
	if order == nil { // it has ended meanwhile
		return nil
	}
	lc := d.Class == api.LC
	switch {
	case has == 0:
		return []string{s.place.Nowhere(order)}
	case lc && has == s.cfg.NodeNum:
		return s.place.Missing(p.id)
	case lc:
		var lines []string
		if err := s.askNode(ctx, has, PeerMissing, peerAsk{ID: string(p.id)}, &lines); err != nil {
			return []string{"node " + s.nodeName(has) + ", which is lcsched, does not answer"}
		}
		return lines
	}
	lines := []string{s.cfg.Info.Node + ": " + s.place.Room(d)}
	if b, err := json.Marshal(d); err == nil && s.cfg.Others != nil {
		for _, answer := range s.cfg.Others.AskAll(ctx, PeerRoom, b) {
			var line string
			if json.Unmarshal(answer, &line) == nil {
				lines = append(lines, line)
			}
		}
	}
	if d.Node != "" {
		lines = slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, d.Node+": ") })
	}
	slices.Sort(lines)
	return lines
}

func explain(w api.Why) (reason string, advice []string) {
	p := w.Proc
	say := func(format string, args ...any) { advice = append(advice, fmt.Sprintf(format, args...)) }
	if p.Status == nil {
		switch p.State {
		case api.Queued:
			reason = "It waits in the queue for room on a node."
			say("wait, end other procs (sigmactl ps), or ask for less --memory or --mcpu")
		case api.Starting:
			reason = "It runs and has not said Started yet."
			if p.Stamps.Slot == 0 {
				reason = "It is placed and waits for a σcontainer."
			}
		default:
			reason = "It runs."
		}
	} else {
		reason = endReason(*p.Status)
		switch p.Status.State {
		case api.OOM:
			say("give it more memory: --memory (it had %s), or make it use less", size(p.Memory))
			say("a Go program keeps to a limit with GOMEMLIMIT in its --env")
		case api.Evicted:
			say("run it again; for memory that nobody can take, run it as LC with --class LC")
		case api.Lost:
			say("run it again; σOS never starts a proc twice by itself")
		case api.Signal:
			if p.Status.Signal == 31 {
				say("it used a foreign system-call convention (32 bit or x32); build it for %s", goruntime.GOARCH)
			} else if strings.Contains(p.Status.Message, starvedText) {
				say("see that the nodes and the store that have the program answer, and run it again")
			} else {
				say("a crash in the program itself; its last lines may say where")
			}
		case api.Refused:
			say("check the program with: file PROG; it must be a static ELF for %s", goruntime.GOARCH)
		}
	}
	total := 0
	for _, d := range w.Denied {
		total += d.Count
		if h := hint(d.Name); h != "" {
			say("%s: %s", d.Name, h)
		}
	}
	if len(w.Denied) > 0 {
		say("docs/SYSCALLS.md lists what a proc may call")
	}
	if total >= slot.MaxDenied {
		say("more calls were refused than are counted here")
	}
	return reason, advice
}

func endReason(st api.Status) string {
	switch st.State {
	case api.Exited:
		r := fmt.Sprintf("It exited by itself with status %d.", st.Code)
		if st.Message != "" {
			r += " It said: " + st.Message
		}
		return r
	case api.Signal:
		if st.Signal == 31 {
			return "The system-call filter ended it (SIGSYS)."
		}
		return fmt.Sprintf("Signal %d (%s) ended it; σOS did not send that.", st.Signal, st.Message)
	case api.OOM:
		return "The kernel ended it: it " + st.Message + "."
	case api.Killed, api.Evicted:
		return "It was ended: " + st.Message + "."
	case api.Lost:
		return "It was lost: " + st.Message + "."
	}
	return "It was not started: " + st.Message + "."
}

// hint says what to use instead of a call that procs commonly miss.
func hint(call string) string {
	switch call {
	case "socket", "connect", "bind", "listen", "accept", "accept4", "socketpair":
		return "a proc has no network of its own; use sigma's endpoints"
	case "fork", "vfork", "clone", "execve", "execveat":
		return "a proc cannot make processes; Spawn another proc"
	case "mkdir", "mkdirat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "creat", "ftruncate", "truncate", "memfd_create":
		return "a proc has no file system of its own; write to its output or, through sigma, to the realm"
	case "kill", "ptrace":
		return "other procs are ended with Kill"
	}
	return ""
}
