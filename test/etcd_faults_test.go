package test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// Without more than half of etcd's peers nothing in etcd changes; procs run and
// talk on, others start, and all goes on by itself when the peers are back.
func TestFAULTS_F12_EtcdQuorumLost(t *testing.T) {
	p := startPeers(t, 3)
	n1 := p.list[0]
	p.voters(n1, 1, 2, 3)
	server, ep := n1.listener()
	prog := n1.program("testproc")
	n1.program("echo")
	c := n1.Client("default")
	sleeper := n1.Running(c, &api.ProcDesc{Program: prog, Args: []string{"sleep"}})
	names := c.Names()
	if _, err := names.PutFile(minute(t), "/f", nil); err != nil {
		t.Fatal(err)
	}
	p.list[1].Kill()
	p.list[2].Kill()
	eventually(t, 30*time.Second, "the loss is noticed", func() (bool, string) {
		_, err := n1.etcdPut(time.Second)
		return err != nil, "a write still succeeds"
	})
	// Names are answered by who still leads, or fail in 5 s and say why.
	for what, call := range map[string]func() error{
		"put":  func() error { _, err := names.PutFile(minute(t), "/f", nil); return err },
		"get":  func() error { _, _, err := names.GetFile(minute(t), "/f"); return err },
		"list": func() error { _, err := names.ReadDir(minute(t), "/", "", 0); return err },
	} {
		begin := time.Now()
		err := call()
		const slow = 2 * time.Second // of this machine
		if took := time.Since(begin); err == nil && what == "put" || took > 5*time.Second+slow {
			t.Errorf("%s without quorum: %v after %v", what, err, took)
		}
		if err != nil && (api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "etcd")) {
			t.Errorf("%s without quorum: %v (kind %q); want that it speaks of etcd", what, err, api.KindOf(err))
		}
	}
	for i, end := 0, time.Now().Add(scaled(5*time.Second, time.Minute)); time.Now().Before(end) || i < 5; i++ {
		text := fmt.Sprint("without quorum ", i)
		if o, e, code := n1.Ctl("run", "/bin/echo", "say", string(ep), text); code != 0 || o != text+"\n" {
			t.Fatalf("a proc that starts and talks: %d, %q, %q", code, o, e)
		}
	}
	for _, id := range []api.ProcID{server, sleeper} {
		if w, err := c.Why(minute(t), string(id)); err != nil || w.Proc.State != api.Running {
			t.Errorf("%s is %v, %v; want it to run on", id.Short(), w.Proc.State, err)
		}
	}
	p.list[1].spawn()
	p.list[2].spawn()
	eventually(t, time.Minute, "writes go on", func() (bool, string) {
		_, err := n1.etcdPut(10 * time.Second)
		return err == nil, fmt.Sprint(err)
	})
	n1.awaitMembers(3)
	p.voters(n1, 1, 2, 3) // nobody was taken for gone
	eventually(t, time.Minute, "names go on", func() (bool, string) {
		_, err := n1.Client("default").Names().PutFile(minute(t), "/f", nil)
		return err == nil, fmt.Sprint(err)
	})
	if w, err := c.Why(minute(t), string(sleeper)); err != nil || w.Proc.State != api.Running {
		t.Errorf("the proc is %v, %v after it all", w.Proc.State, err)
	}
	p.list[1].answers()
	p.list[2].answers()
}

// register is a file that one client writes with growing numbers, and what is
// known of it.
type register struct {
	path         string
	acked, asked atomic.Int64
}

// write writes until ctx ends; a write without an answer is of unknown outcome.
func (r *register) write(ctx context.Context, n *sigma.Names, longest *atomic.Int64) {
	last := time.Now()
	for i := int64(1); ctx.Err() == nil; i++ {
		r.asked.Store(i)
		wctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := n.PutFile(wctx, r.path, []byte(strconv.FormatInt(i, 10)))
		cancel()
		if err == nil {
			r.acked.Store(i)
			longest.Store(max(longest.Load(), int64(time.Since(last))))
			last = time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// read checks that no read is older than a write that was acknowledged before it
// began, nor than the read before it, and that it reads what was written.
func (r *register) read(ctx context.Context, n *sigma.Names) (reads int, err error) {
	var last int64
	for ctx.Err() == nil {
		before := max(r.acked.Load(), last)
		rctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		b, _, err := n.GetFile(rctx, r.path)
		cancel()
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		got, perr := strconv.ParseInt(string(b), 10, 64)
		if perr != nil || got < before || got > r.asked.Load() {
			return reads, fmt.Errorf("%s reads %q; want %d to %d", r.path, b, before, r.asked.Load())
		}
		last = got
		reads++
		time.Sleep(2 * time.Millisecond)
	}
	return reads, nil
}

// The nodes that may lead the realm's root, and etcd, are killed one after the
// other under load: what was acknowledged stays, reads never go back.
func TestFAULTS_F9_LeadersOfNamesAreKilled(t *testing.T) {
	p := startPeers(t, 3)
	client := p.join("--roles", "node") // it leads nothing and is not killed
	p.voters(client, 1, 2, 3)
	client.awaitMembers(4)
	var regs []*register
	names := client.Client("default").Names()
	for i := range 4 {
		r := &register{path: fmt.Sprint("/register", i)}
		eventually(t, 30*time.Second, "the first write", func() (bool, string) {
			_, err := names.PutFile(minute(t), r.path, []byte("0"))
			return err == nil, fmt.Sprint(err)
		})
		regs = append(regs, r)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	var longest, reads atomic.Int64
	for _, r := range regs {
		w, rd := client.Client("default").Names(), client.Client("default").Names()
		wg.Go(func() { r.write(ctx, w, &longest) })
		wg.Go(func() {
			n, err := r.read(ctx, rd)
			if err != nil {
				t.Error(err)
			}
			reads.Add(int64(n))
		})
	}
	for round := range scaled(3, 30) {
		victim := p.list[round%3]
		time.Sleep(scaled(time.Second, 5*time.Second))
		victim.Kill()
		before := regs[0].acked.Load()
		eventually(t, time.Minute, fmt.Sprintf("round %d: writes go on without %s", round, victim.flag("--node")), func() (bool, string) {
			return regs[0].acked.Load() > before+3, fmt.Sprint(regs[0].acked.Load())
		})
		victim.Start()
		p.voters(client, 1, 2, 3)
	}
	stop()
	wg.Wait()
	var writes int64
	for _, r := range regs {
		writes += r.acked.Load()
		eventually(t, 30*time.Second, "the last read", func() (bool, string) {
			b, _, err := names.GetFile(minute(t), r.path)
			got, perr := strconv.ParseInt(string(b), 10, 64)
			if err == nil && (perr != nil || got < r.acked.Load() || got > r.asked.Load()) {
				t.Fatalf("%s is %q at the end; want %d to %d", r.path, b, r.acked.Load(), r.asked.Load())
			}
			return err == nil, fmt.Sprint(err)
		})
	}
	if writes == 0 || reads.Load() == 0 {
		t.Errorf("%d writes and %d reads: nothing was tested", writes, reads.Load())
	}
	t.Logf("%d writes, %d reads, longest pause %v", writes, reads.Load(), time.Duration(longest.Load()).Round(time.Millisecond))
}
