package oom

import (
	"os"
	"os/exec"
	"testing"
)

// Whatever sigmad was started with: BE before LC before sigmad.
func TestFAULTS_F24_TheOrderHolds(t *testing.T) {
	for _, c := range []struct {
		name     string
		own      int
		lc, most int
	}{
		{"it could lower itself", spare, 0, 1000},
		{"it could not", 0, 100, 1000},
		{"a service manager spares it", -1000, 0, 1000},
		{"it was started as something to end early", 500, 600, 1000},
	} {
		if o := order(c.own); o != (Order{Sigmad: c.own, LC: c.lc, BE: c.most}) || o.Sigmad >= o.LC || o.LC >= o.BE {
			t.Errorf("%s: order(%d) = %+v, want LC %d and BE %d", c.name, c.own, o, c.lc, c.most)
		}
	}
}

func TestSetIsWhatTheKernelSays(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	pid := cmd.Process.Pid
	was, err := Score(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{900, 1000, max(was, 0)} {
		if err := Set(pid, n); err != nil {
			t.Fatal(err)
		}
		if got, err := Score(pid); got != n || err != nil {
			t.Errorf("Score after Set(%d) = %d %v", n, got, err)
		}
	}
	if err := Set(pid, 1001); err == nil {
		t.Error("Set(1001) succeeds")
	}
	if _, err := Score(1 << 30); !os.IsNotExist(err) && err == nil {
		t.Errorf("Score of no process: %v", err)
	}
}
