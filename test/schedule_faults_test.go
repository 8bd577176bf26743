package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/bench/lab"
)

// fault is one kind of fault: it happens to some machines, lasts, and is mended.
type fault struct {
	name string
	do   func(w *world, m *machine, d time.Duration)
	who  func(w *world) *machine // nil is anyone
}

// faults are all kinds; every run has each of them.
var faults = []fault{
	{name: "kill", do: killed},
	{name: "kill the leader of etcd", do: killed, who: (*world).leader},
	{name: "stop", do: stopped},
	{name: "stop the leader of etcd", do: stopped, who: (*world).leader},
	{name: "kill all", do: allKilled},
	{name: "kill binfs", do: binfsKilled},
	{name: "cut off", do: func(w *world, m *machine, d time.Duration) { w.ways(m, d, lab.Way{Cut: true}, lab.Way{Cut: true}) }},
	{name: "cannot send", do: func(w *world, m *machine, d time.Duration) { w.ways(m, d, lab.Way{Cut: true}, lab.Way{}) }},
	{name: "cannot receive", do: func(w *world, m *machine, d time.Duration) { w.ways(m, d, lab.Way{}, lab.Way{Cut: true}) }},
	{name: "one pair apart", do: pairApart},
	{name: "loses and doubles packets", do: func(w *world, m *machine, d time.Duration) {
		bad := lab.Way{Loss: 0.1, Double: 0.1}
		w.ways(m, d, bad, bad)
	}},
	{name: "slow and out of order", do: func(w *world, m *machine, d time.Duration) {
		slow := lab.Way{Delay: 50 * time.Millisecond}
		w.ways(m, d, slow, slow)
	}},
	{name: "disk full", do: diskFull},
}

// pick chooses a machine that has no fault, and how long this one lasts.
func (w *world) pick(f fault) (m *machine, d time.Duration) {
	for {
		if f.who != nil {
			m = f.who(w)
		}
		w.mu.Lock()
		if m == nil {
			m = w.list[w.rng.IntN(len(w.list))]
		}
		if !m.busy {
			m.busy = true
			w.mu.Unlock()
			return m, w.between(scaled(500*time.Millisecond, time.Second), scaled(4*time.Second, 15*time.Second))
		}
		w.mu.Unlock()
		m = nil
		w.sleep(50 * time.Millisecond)
	}
}

// inflict lets the fault happen, and waits for its end.
func (w *world) inflict(f fault, m *machine, d time.Duration) {
	w.t.Logf("%s: %s, %v", m.name(), f.name, d.Round(10*time.Millisecond))
	f.do(w, m, d)
	w.mu.Lock()
	m.busy = false
	w.fired[f.name]++
	w.mu.Unlock()
}

// leader is the machine that leads etcd, as anybody sees it; nil is nobody.
func (w *world) leader() *machine {
	for _, m := range w.list {
		w.mu.Lock()
		busy := m.busy
		w.mu.Unlock()
		if busy {
			continue
		}
		list, err := m.etcdPeers()
		if err != nil {
			continue
		}
		for _, p := range list {
			for _, l := range w.list {
				if p.Leader && p.Node == l.name() {
					return l
				}
			}
		}
	}
	return nil
}

func killed(w *world, m *machine, d time.Duration) {
	m.kept.Lock()
	defer m.kept.Unlock()
	m.Kill()
	w.sleep(d)
	m.Start()
}

// allKilled kills every machine that has no fault of its own, at one moment, and
// starts them in another order.
func allKilled(w *world, m *machine, d time.Duration) {
	all := []*machine{m}
	w.mu.Lock()
	for _, o := range w.list {
		if !o.busy {
			o.busy = true
			all = append(all, o)
		}
	}
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	w.mu.Unlock()
	for _, o := range all {
		o.kept.Lock()
		defer o.kept.Unlock()
		o.cmd.Process.Kill()
	}
	for _, o := range all {
		o.Kill()
	}
	w.sleep(d)
	for _, o := range all {
		o.spawn() // one cannot be ready without the others
	}
	for _, o := range all {
		if err := o.ready(); err != nil {
			w.violated("after all were killed: %v", err)
		}
	}
	w.mu.Lock()
	for _, o := range all {
		o.busy = false
	}
	w.mu.Unlock()
}

func stopped(w *world, m *machine, d time.Duration) {
	m.kept.Lock()
	defer m.kept.Unlock()
	m.cmd.Process.Signal(syscall.SIGSTOP)
	w.sleep(d)
	m.cmd.Process.Signal(syscall.SIGCONT)
}

func binfsKilled(w *world, m *machine, d time.Duration) {
	if pid := m.binfs(); pid != 0 {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	w.sleep(d)
}

// ways sets for a while what the machine's packets to all others meet, and theirs to
// it.
func (w *world) ways(m *machine, d time.Duration, out, in lab.Way) {
	w.way(m, out, in)
	w.sleep(d)
	w.way(m, lab.Way{}, lab.Way{})
}

func (w *world) way(m *machine, out, in lab.Way) {
	for _, o := range w.list {
		if o != m {
			w.net.Set(lab.Member(m.i), lab.Member(o.i), out)
			w.net.Set(lab.Member(o.i), lab.Member(m.i), in)
		}
	}
}

// pairApart cuts the machine off from one other.
func pairApart(w *world, m *machine, d time.Duration) {
	a, b := lab.Member(m.i), lab.Member((m.i+1)%len(w.list))
	for _, way := range []lab.Way{{Cut: true}, {}} {
		w.net.Set(a, b, way)
		w.net.Set(b, a, way)
		if way.Cut {
			w.sleep(d)
		}
	}
}

// diskFull leaves the machine no byte for a while. One whose etcd could not write
// may have ended with a reason; it is started again when there is room.
func diskFull(w *world, m *machine, d time.Duration) {
	m.kept.Lock()
	defer m.kept.Unlock()
	path := filepath.Join(m.Dir, "data", "ballast")
	err := m.in.Do(func() error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for chunk := make([]byte, 1<<20); err == nil; {
			_, err = f.Write(chunk)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		return nil
	})
	if err != nil {
		w.violated("%s: the disk cannot be filled: %v", m.name(), err)
	}
	w.sleep(d)
	if err := m.in.Do(func() error { return os.Remove(path) }); err != nil {
		w.violated("%s: %v", m.name(), err)
	}
	select {
	case <-m.done:
		w.t.Logf("%s ended while its disk was full: %s", m.name(), m.err)
		m.cmd = nil
		m.Start()
	default:
	}
}

// ready waits until the machine answers.
func (m *machine) ready() error {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := m.connect("default")
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not answer: %w\n%s", m.name(), err, m.err)
		}
	}
}

// alive notes machines whose sigmad has ended though nobody killed it.
func (w *world) alive() {
	for _, m := range w.list {
		if !m.kept.TryLock() {
			continue
		}
		select {
		case <-m.done:
			w.violated("%s: sigmad ended by itself: %v\n%s", m.name(), m.cmd.ProcessState, m.err)
			m.cmd = nil
			m.Start()
		default:
		}
		m.kept.Unlock()
	}
}

// sample checks what holds at every moment, on the machines that answer.
func (w *world) sample(where map[api.ProcID]string) {
	for _, m := range w.list {
		c, err := m.connect("default")
		if err != nil {
			continue
		}
		var top api.Top
		if err := c.Call(w.soon(), api.MTop, nil, &top); err == nil {
			if top.Reserved > 2000 || top.MemLC+top.MemBE > top.Memory {
				w.violated("%s has promised more than it has: %+v", m.name(), top)
			}
			for _, p := range top.Procs {
				at, ok := where[p.ID]
				if ok && at != m.name() {
					w.violated("%s runs on %s and on %s", p.ID, at, m.name())
				}
				where[p.ID] = m.name()
				if home, _, _ := p.ID.Home(); !ok && w.numbers[home] != m.name() {
					w.mu.Lock()
					w.away[p.Class]++
					w.mu.Unlock()
				}
			}
		}
		c.Close()
		if err := m.balanced(); errors.Is(err, errUnbalanced) {
			w.violated("%s: %v", m.name(), err)
		}
	}
}

var errUnbalanced = errors.New("not every proc is waiting, running or ended")

// balanced compares the node's own counts of procs, since its start: those that it
// took are those that wait, run or have ended.
func (m *machine) balanced() error {
	c, err := m.connect("-")
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	var text []byte
	err = m.in.Do(func() error { // where its loopback is
		conn, err := net.DialTimeout("tcp", info.Metrics, 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		text, err = io.ReadAll(conn)
		return err
	})
	if err != nil {
		return err
	}
	var spawned, others float64
	seen := 0
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.ParseFloat(value, 64)
		switch name, _, _ = strings.Cut(name, "{"); name {
		case "sigma_procs_spawned_total":
			spawned += n
			seen++
		case "sigma_procs_ended_total", "sigma_procs_queued", "sigma_procs_running":
			others += n
			seen++
		}
	}
	if seen < 4 {
		return fmt.Errorf("the node's counts are not in %q", text)
	}
	if spawned != others {
		return fmt.Errorf("%w: %v of %v", errUnbalanced, others, spawned)
	}
	return nil
}
