package test

import (
	"strings"
	"testing"

	"sigmaos/api"
)

// A realm has what its record says and no more, and is told which bound it met.
func TestRealmQuotas(t *testing.T) {
	n := StartNode(t, "--mcpu", "4000", "--memory", "2GiB")
	if _, e, code := n.Ctl("realm", "create", "shop", "--procs", "3", "--memory", "200MiB", "--cores", "0.5", "--scratch", "1MiB"); code != 0 {
		t.Fatal(e)
	}
	if o, _, _ := n.Ctl("realm", "ls"); !strings.Contains(o, "200MiB") || !strings.Contains(o, "0.5") {
		t.Errorf("realm ls shows %q", o)
	}
	prog := n.UploadTo("shop", "testproc")
	c := n.Client("shop")
	spawn := func(d api.ProcDesc) (api.ProcID, error) {
		d.Program, d.Args = prog, []string{"sleep"}
		return c.Spawn(minute(t), &d)
	}
	if _, err := spawn(api.ProcDesc{Memory: 201 << 20}); api.KindOf(err) != api.NoCapacity || !strings.Contains(err.Error(), "memory") {
		t.Errorf("a proc larger than the quota: %v", err)
	}
	first, err := spawn(api.ProcDesc{Memory: 150 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spawn(api.ProcDesc{Memory: 64 << 20}); api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "quota of memory") {
		t.Errorf("more memory than is left: %v", err)
	}
	if _, err := spawn(api.ProcDesc{Memory: 8 << 20, Class: api.LC, MCPU: 600}); api.KindOf(err) != api.NoCapacity || !strings.Contains(err.Error(), "cores") {
		t.Errorf("more cores than the quota: %v", err)
	}
	if err := c.Kill(minute(t), first, 0); err != nil {
		t.Fatal(err)
	}
	n.Await(c, first)
	for range 3 {
		if _, err := spawn(api.ProcDesc{Memory: 8 << 20}); err != nil {
			t.Error(err)
		}
	}
	if _, err := spawn(api.ProcDesc{Memory: 8 << 20}); api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "quota of procs") {
		t.Errorf("a proc too many: %v", err)
	}
	awaitScratch(t, c.Names(), 1)
	if _, err := c.Names().PutFile(minute(t), "/ux/~local/f", make([]byte, 2<<20)); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("2 MiB into a scratch of 1 MiB: %v", err)
	}
	for name, realm := range map[string]string{"upper case": "Shop", "64 letters": strings.Repeat("a", 64), "a slash": "a/b", "the one for none": "-"} {
		if _, e, code := n.Ctl("realm", "create", "--", realm); code != 1 || !strings.Contains(e, "1 to 63 of a-z") {
			t.Errorf("%s: %d, %q", name, code, e)
		}
	}
	if _, e, code := n.Ctl("realm", "create", strings.Repeat("a", 63)); code != 0 {
		t.Error(e)
	}
}
