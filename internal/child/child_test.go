package child

import (
	"os/exec"
	"strings"
	"sync"
	"testing"
)

func start(t *testing.T, script string) (p *Process, said func() string) {
	t.Helper()
	var mu sync.Mutex
	var out strings.Builder
	p, err := Start(exec.Command("/bin/sh", "-c", script), map[string]int{"n": 7}, func(line string) {
		mu.Lock()
		defer mu.Unlock()
		out.WriteString(line + "\n")
	}, func() {
		mu.Lock()
		defer mu.Unlock()
		out.WriteString("ended\n")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.End)
	return p, func() string {
		mu.Lock()
		defer mu.Unlock()
		return out.String()
	}
}

func TestProcessIsToldAndHeard(t *testing.T) {
	p, said := start(t, `read l; echo "told $l" >&2; cat >/dev/null; echo bye >&2; exit 3`)
	if how, ok := p.Ended(); ok {
		t.Errorf("Ended before its input did: %s", how)
	}
	p.End()
	if how, ok := p.Ended(); !ok || how != "exit status 3" {
		t.Errorf("Ended = %q, %v", how, ok)
	}
	if got, want := said(), "told {\"n\":7}\nbye\nended\n"; got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
}

func TestProcessThatEndsByItself(t *testing.T) {
	p, _ := start(t, `read l`)
	<-p.Done()
	p.End()
}

func TestProcessThatDoesNotEnd(t *testing.T) {
	p, _ := start(t, `trap "" TERM INT; exec sleep 1000`)
	p.End()
	if how, _ := p.Ended(); how != "signal: killed" {
		t.Errorf("a process that does not listen: %q", how)
	}
}

// Whoever else has its standard error does not keep it from being over.
func TestProcessThatLeavesAnother(t *testing.T) {
	p, _ := start(t, `read l; sleep 3 & exit 0`)
	<-p.Done()
}

func TestNoSuchProgram(t *testing.T) {
	if _, err := Start(exec.Command("/no/such/program"), nil, func(string) {}, func() {}); err == nil {
		t.Error("it starts")
	}
}
