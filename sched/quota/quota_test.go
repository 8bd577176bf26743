package quota

import (
	"math"
	"strings"
	"testing"

	"sigmaos/api"
)

func TestAdmit(t *testing.T) {
	q := api.Quota{Procs: 3, Memory: 256 << 20, MCPU: 2000}
	desc := func(mem, mcpu int64) *api.ProcDesc {
		return &api.ProcDesc{Program: "/bin/x", Memory: mem << 20, MCPU: mcpu}
	}
	for name, tt := range map[string]struct {
		q    api.Quota
		have Use
		d    *api.ProcDesc
		kind api.Kind
		text string
	}{
		"no bounds":              {api.Quota{}, Use{1 << 30, math.MaxInt64, math.MaxInt64}, desc(64, 1000), "", ""},
		"the first":              {q, Use{}, desc(64, 1000), "", ""},
		"just fits":              {q, Use{2, 192 << 20, 1000}, desc(64, 1000), "", ""},
		"a proc too many":        {q, Use{3, 0, 0}, desc(1, 0), api.Busy, "quota of procs"},
		"a byte too many":        {q, Use{1, 192<<20 + 1, 0}, desc(64, 0), api.Busy, "quota of memory"},
		"a core too many":        {q, Use{1, 0, 1500}, desc(1, 1000), api.Busy, "quota of cores"},
		"BE wants no cores":      {q, Use{1, 0, 5000}, desc(1, 0), "", ""},
		"never: memory":          {q, Use{}, desc(512, 0), api.NoCapacity, "512 MiB of memory"},
		"never: cores":           {q, Use{}, desc(1, 4000), api.NoCapacity, "4 of cores"},
		"a sum that overflows":   {q, Use{1, math.MaxInt64 - 1, 0}, desc(64, 0), api.Busy, "memory"},
		"more than the quota is": {q, Use{1, 1 << 30, 0}, desc(64, 0), api.Busy, "memory"},
	} {
		err := Admit(tt.q, tt.have, tt.d)
		if (err == nil) != (tt.text == "") || err != nil && (api.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: Admit = %v, want %s %q", name, err, tt.kind, tt.text)
		}
	}
}

func TestUseReturnsToNothing(t *testing.T) {
	d := &api.ProcDesc{Memory: 5, MCPU: 7}
	if u := (Use{}).Add(Of(d)).Add(Of(d)).Sub(Of(d)).Sub(Of(d)); u != (Use{}) {
		t.Errorf("after as many ends as starts: %+v", u)
	}
}
