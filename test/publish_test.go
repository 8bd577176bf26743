package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/bench/lab"
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
