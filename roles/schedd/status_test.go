package schedd

import (
	"strings"
	"syscall"
	"testing"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/runtime/slot"
)

// What a slot tells of an end, and what was known before, make one status.
func TestStatusOfAnEnd(t *testing.T) {
	exit := func(code int) syscall.WaitStatus { return syscall.WaitStatus(code << 8) }
	ran := func(ws syscall.WaitStatus) slot.End { return slot.End{Status: ws, Taken: 1, Exec: 2} }
	killed := func(p *proc) { p.ending, p.reason = api.Killed, "by somebody" }
	said := func(code int64) func(*proc) {
		return func(p *proc) { p.reported = &wire.Exit{Code: code, Message: "m", Data: []byte("d")} }
	}
	for name, tt := range map[string]struct {
		end   slot.End
		prior func(*proc)
		want  api.Status
	}{
		"exit 0":                            {ran(exit(0)), nil, api.Status{State: api.Exited}},
		"exit 3":                            {ran(exit(3)), nil, api.Status{State: api.Exited, Code: 3}},
		"Exited, then exit 0":               {ran(exit(0)), said(0), api.Status{State: api.Exited, Message: "m", Data: []byte("d")}},
		"Exited with a code, then exit 0":   {ran(exit(0)), said(9), api.Status{State: api.Exited, Code: 9, Message: "m", Data: []byte("d")}},
		"Exited with a code, then another":  {ran(exit(2)), said(9), api.Status{State: api.Exited, Code: 2, Message: "m", Data: []byte("d")}},
		"Exited, then a signal":             {ran(11), said(0), api.Status{State: api.Signal, Signal: 11, Message: "segmentation fault"}},
		"a signal":                          {ran(6), nil, api.Status{State: api.Signal, Signal: 6, Message: "aborted"}},
		"killed":                            {ran(9), killed, api.Status{State: api.Killed, Signal: 9, Message: "by somebody"}},
		"killed, but it left by itself":     {ran(exit(4)), killed, api.Status{State: api.Exited, Code: 4}},
		"killed before exec":                {slot.End{Stage: slot.StageOpen, Errno: syscall.EINTR}, killed, api.Status{State: api.Killed, Signal: 9, Message: "by somebody"}},
		"killed with its slot":              {slot.End{Died: true}, killed, api.Status{State: api.Killed, Signal: 9, Message: "by somebody"}},
		"its slot died":                     {slot.End{Died: true}, nil, api.Status{State: api.Lost, Message: "its σcontainer died"}},
		"out of memory":                     {slot.End{Status: 9, OOM: true, Taken: 1, Exec: 2}, nil, api.Status{State: api.OOM, Signal: 9, Message: "needed more memory than its limit of 64 MiB"}},
		"out of memory, and asked to end":   {slot.End{Status: 9, OOM: true, Taken: 1, Exec: 2}, killed, api.Status{State: api.OOM, Signal: 9, Message: "needed more memory than its limit of 64 MiB"}},
		"out of memory with its slot":       {slot.End{Died: true, OOM: true}, nil, api.Status{State: api.OOM, Signal: 9, Message: "needed more memory than its limit of 64 MiB"}},
		"the program is gone":               {slot.End{Stage: slot.StageOpen, Errno: syscall.ENOENT, Taken: 1}, nil, api.Status{State: api.Refused, Message: "the program is not in the store of this node any more"}},
		"the mount is gone":                 {slot.End{Stage: slot.StageOpen, Errno: syscall.ENOTCONN, Taken: 1}, nil, api.Status{State: api.Refused, Message: "the node's mount of programs was lost at that moment; it is back within a second, spawn again"}},
		"a format that the kernel does not": {slot.End{Stage: slot.StageExec, Errno: syscall.ENOEXEC, Taken: 1}, nil, api.Status{State: api.Refused, Message: "the kernel cannot run this program (wrong format)"}},
	} {
		p := &proc{desc: &api.ProcDesc{Memory: 64 << 20}}
		if tt.prior != nil {
			tt.prior(p)
		}
		got := p.statusLocked(tt.end)
		if got.State != tt.want.State || got.Code != tt.want.Code || got.Signal != tt.want.Signal || got.Message != tt.want.Message || string(got.Data) != string(tt.want.Data) {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 1 << 20: "1 MiB", 3 << 19: "1.5 MiB", 64 << 20: "64 MiB", 5 << 30: "5 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

// Every state has a reason in words, and every end that somebody can do
// something about has advice.
func TestExplainEveryState(t *testing.T) {
	end := func(s api.Status) api.Why {
		return api.Why{Proc: api.ProcInfo{State: s.State, Status: &s, Memory: 64 << 20}}
	}
	for name, tt := range map[string]struct {
		w              api.Why
		reason, advice string
	}{
		"queued":         {api.Why{Proc: api.ProcInfo{State: api.Queued}}, "waits", "--memory"},
		"placed":         {api.Why{Proc: api.ProcInfo{State: api.Starting}}, "σcontainer", ""},
		"not started":    {api.Why{Proc: api.ProcInfo{State: api.Starting, Stamps: api.Stamps{Slot: 1}}}, "has not said Started", ""},
		"running":        {api.Why{Proc: api.ProcInfo{State: api.Running}}, "runs", ""},
		"exited 0":       {end(api.Status{State: api.Exited}), "status 0", ""},
		"exited 3":       {end(api.Status{State: api.Exited, Code: 3, Message: "no input"}), "no input", ""},
		"oom":            {end(api.Status{State: api.OOM, Signal: 9, Message: "needed more memory than its limit of 64 MiB"}), "needed more memory", "64 MiB"},
		"evicted":        {end(api.Status{State: api.Evicted, Message: "made room for x"}), "made room", "--class LC"},
		"killed":         {end(api.Status{State: api.Killed, Message: "killed by the operator"}), "the operator", ""},
		"lost":           {end(api.Status{State: api.Lost, Message: "its σcontainer died"}), "lost", "run it again"},
		"segmentation":   {end(api.Status{State: api.Signal, Signal: 11, Message: "segmentation fault"}), "segmentation fault", "crash"},
		"foreign calls":  {end(api.Status{State: api.Signal, Signal: 31, Message: "bad system call"}), "filter", "x32"},
		"refused":        {end(api.Status{State: api.Refused, Message: "wrong format"}), "not started", "static"},
		"a denied call":  {api.Why{Proc: api.ProcInfo{State: api.Running}, Denied: []api.DeniedCall{{Name: "socket", Count: 1}}}, "runs", "no network"},
		"many denied":    {api.Why{Proc: api.ProcInfo{State: api.Running}, Denied: []api.DeniedCall{{Name: "bpf", Count: 32}}}, "runs", "more calls"},
		"denied, no tip": {api.Why{Proc: api.ProcInfo{State: api.Running}, Denied: []api.DeniedCall{{Name: "bpf", Count: 1}}}, "runs", "SYSCALLS.md"},
	} {
		reason, advice := explain(tt.w)
		if !strings.Contains(reason, tt.reason) {
			t.Errorf("%s: the reason is %q, want one with %q", name, reason, tt.reason)
		}
		if all := strings.Join(advice, "\n"); tt.advice == "" && all != "" || !strings.Contains(all, tt.advice) {
			t.Errorf("%s: the advice is %q, want one with %q", name, all, tt.advice)
		}
	}
}
