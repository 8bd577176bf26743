package api

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestProcIDKeepsItsHome(t *testing.T) {
	for program, want := range map[string]string{
		"/bin/mr-map": "mr-map-", "": "proc-", "/x/Ünï.Code_9": "n-code-9-", strings.Repeat("long", 20): "longlonglonglonglong-", "---": "proc-",
	} {
		id := NewProcID(program, 513, 70000)
		node, boot, ok := id.Home()
		if !ok || node != 513 || boot != 70000 || !strings.HasPrefix(string(id), want) || len(id) != len(want)+26 {
			t.Errorf("id of %q: %s, home %d boot %d %v", program, id, node, boot, ok)
		}
	}
	for range 1000 {
		node, boot := uint16(rand.Uint32()), rand.Uint32()
		if n, b, ok := NewProcID("x", node, boot).Home(); !ok || n != node || b != boot {
			t.Fatalf("%d and %d came back as %d and %d, %v", node, boot, n, b, ok)
		}
	}
	for _, bad := range []ProcID{"", "x", "hello-", "-aaaaaaaaaaaaaaaaaaaaaaaaaa", "hello-AAAAAAAAAAAAAAAAAAAAAAAAAA", "hello-aaaaaaaaaaaa\naaaaaaaaaaaaa", "hello-aaaaaaaaaaaaaaaaaaaaaaaaa1"} {
		if _, _, ok := bad.Home(); ok {
			t.Errorf("%q passes for an id", bad)
		}
	}
}

func TestNormalize(t *testing.T) {
	d := ProcDesc{Program: "/bin/x", Class: LC}
	if err := d.Normalize(); err != nil || d.MCPU != DefaultLCCPU || d.Memory != DefaultMem || d.FDs != DefaultFDs || d.Threads != DefaultPids {
		t.Errorf("defaults: %+v %v", d, err)
	}
	for name, tt := range map[string]struct {
		d    ProcDesc
		kind Kind
		want string
	}{
		"no program":     {ProcDesc{}, Invalid, "no program"},
		"NUL in path":    {ProcDesc{Program: "a\x00b"}, Invalid, "NUL"},
		"NUL in an arg":  {ProcDesc{Program: "a", Args: []string{"x\x00"}}, Invalid, "NUL"},
		"10 MB of args":  {ProcDesc{Program: "a", Args: []string{strings.Repeat("x", 10<<20)}}, TooLarge, "limits"},
		"many args":      {ProcDesc{Program: "a", Args: make([]string, MaxArgs+1)}, TooLarge, "limits"},
		"long path":      {ProcDesc{Program: strings.Repeat("/x", MaxPath)}, TooLarge, "longer"},
		"env":            {ProcDesc{Program: "a", Env: []string{"=x"}}, Invalid, "KEY=VALUE"},
		"class":          {ProcDesc{Program: "a", Class: 9}, Invalid, "class"},
		"mcpu of BE":     {ProcDesc{Program: "a", MCPU: 1}, Invalid, "only LC"},
		"negative mcpu":  {ProcDesc{Program: "a", Class: LC, MCPU: -1}, Invalid, "mcpu"},
		"absurd mcpu":    {ProcDesc{Program: "a", Class: LC, MCPU: 1 << 62}, Invalid, "mcpu"},
		"negative mem":   {ProcDesc{Program: "a", Memory: -5}, Invalid, "memory"},
		"little memory":  {ProcDesc{Program: "a", Memory: 1}, Invalid, "memory"},
		"descriptors":    {ProcDesc{Program: "a", FDs: MaxFDs + 1}, Invalid, "fds"},
		"threads":        {ProcDesc{Program: "a", Threads: -1}, Invalid, "threads"},
		"failure domain": {ProcDesc{Program: "a", Domain: strings.Repeat("d", 65)}, TooLarge, "domain"},
	} {
		if err := tt.d.Normalize(); KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want kind %q and a text with %q", name, err, tt.kind, tt.want)
		}
	}
}
