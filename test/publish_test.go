package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/bench/lab"
	"sigmaos/sigma"
)

// A machine is cut off for longer than the leases of its procs, whose names are gone
// meanwhile. Its procs run on, and their names come back; one that another proc has
// taken by then stays that one's.
func TestFAULTS_F14_NamesOfAProcThatWasCutOffComeBack(t *testing.T) {
	w := newWorld(t, 1, 4)
	far, near := w.list[3], w.list[0] // far has no part of etcd
	names := near.Client("default").Names()
	if err := names.MkdirAll(minute(t), "/svc", 0o777); err != nil {
		t.Fatal(err)
	}
	serve := func(m *machine, path string) {
		m.Running(m.Client("default"), &api.ProcDesc{Program: m.program("echo"), Args: []string{"serve", path}, Memory: 32 << 20})
	}
	reach := func(path string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return echoed(ctx, near.Client("default"), path)
	}
	for _, path := range []string{"/svc/kept", "/svc/taken"} {
		serve(far, path)
		if err := reach(path); err != nil {
			t.Fatal(err)
		}
	}
	w.way(far, lab.Way{Cut: true}, lab.Way{Cut: true})
	eventually(t, 40*time.Second, "the names are gone", func() (bool, string) {
		list, err := names.ReadDir(minute(t), "/svc", "", 0)
		return err == nil && len(list) == 0, fmt.Sprintf("%v, %v", list, err)
	})
	serve(near, "/svc/taken")
	successor, err := names.Lstat(minute(t), "/svc/taken")
	if err != nil {
		t.Fatal(err)
	}
	w.net.Heal()
	for _, path := range []string{"/svc/kept", "/svc/taken"} {
		eventually(t, time.Minute, path+" is reached", func() (bool, string) {
			err := reach(path)
			return err == nil, fmt.Sprint(err)
		})
	}
	if now, err := names.Lstat(minute(t), "/svc/taken"); err != nil || now.Attr.Target != successor.Attr.Target {
		t.Errorf("the name that another proc took leads to %q (%v), want %q", now.Attr.Target, err, successor.Attr.Target)
	}
}

// The leader of a realm's names is cut off, so that another leads, and lives on. A
// program that was connected with it, on its own node too, finds the next one.
func TestFAULTS_F14_ProgramsFollowTheLeaderOfTheirNames(t *testing.T) {
	w := newWorld(t, 1, 3)
	put := func(names *sigma.Names, path string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := names.PutFile(ctx, path, []byte("x"))
		return err
	}
	var kept []*sigma.Names
	for _, m := range w.list {
		names := m.Client("default").Names()
		kept = append(kept, names)
		eventually(t, time.Minute, m.name()+" writes", func() (bool, string) {
			err := put(names, "/"+m.name())
			return err == nil, fmt.Sprint(err)
		})
	}
	led := false
	for i, m := range w.list { // until it was the one that leads
		if led {
			break
		}
		w.way(m, lab.Way{Cut: true}, lab.Way{Cut: true})
		other, tries := w.list[(i+1)%len(w.list)], 0
		eventually(t, time.Minute, other.name()+" writes while "+m.name()+" is cut off", func() (bool, string) {
			tries++
			c, err := other.connect("default")
			if err == nil {
				err = put(c.Names(), "/"+other.name())
				c.Close()
			}
			return err == nil, fmt.Sprint(err)
		})
		led = tries > 1
		w.net.Heal()
		for k, names := range kept {
			eventually(t, time.Minute, fmt.Sprintf("%s writes after %s was cut off", w.list[k].name(), m.name()), func() (bool, string) {
				err := put(names, "/"+w.list[k].name())
				return err == nil, fmt.Sprint(err)
			})
		}
	}
	if !led {
		t.Error("none of them led: nobody had to find another leader")
	}
}
