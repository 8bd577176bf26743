package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"sigmaos/api"
	"sigmaos/runtime/seccomp"
)

// What these try and what must come of it is in roles/doctor/attack, which
// `sigmactl doctor --attack` runs, too.

func TestPROBES_S1_NoSockets(t *testing.T) { onHostile(t).holds("S1") }

func TestPROBES_S2_NoConnect(t *testing.T) { onHostile(t).holds("S2") }

func TestPROBES_S4_NoBindListenAccept(t *testing.T) { onHostile(t).holds("S4") }

func TestPROBES_S6_NoIOUring(t *testing.T) { onHostile(t).holds("S6") }

func TestPROBES_S7_NoBPFNoPerf(t *testing.T) { onHostile(t).holds("S7") }

func TestPROBES_S8_NoPtrace(t *testing.T) { onHostile(t).holds("S8") }

func TestPROBES_S9_NoMemoryOfOthers(t *testing.T) { onHostile(t).holds("S9") }

func TestPROBES_S10_NoPidfdsNoSignals(t *testing.T) { onHostile(t).holds("S10") }

func TestPROBES_S11_NoKeyrings(t *testing.T) { onHostile(t).holds("S11") }

func TestPROBES_S12_NoUserfaultfd(t *testing.T) { onHostile(t).holds("S12") }

func TestPROBES_S13_NoNamespacesNoForks(t *testing.T) { onHostile(t).holds("S13") }

func TestPROBES_S14_NoSetns(t *testing.T) { onHostile(t).holds("S14") }

func TestPROBES_S15_NoMounts(t *testing.T) { onHostile(t).holds("S15") }

func TestPROBES_S16_NoFileHandles(t *testing.T) { onHostile(t).holds("S16") }

func TestPROBES_S17_NoPersonality(t *testing.T) { onHostile(t).holds("S17") }

func TestPROBES_S20_I386CallsEndTheProc(t *testing.T) { onHostile(t).holds("S20") }

func TestPROBES_S22_IoctlsAreRefused(t *testing.T) { onHostile(t).holds("S22") }

func TestPROBES_S23_NothingCanBeExeced(t *testing.T) { onHostile(t).holds("S23") }

func TestPROBES_S25_NoWritableAndExecutableMemory(t *testing.T) { onHostile(t).holds("S25") }

func TestPROBES_S27_NoSegmentsNoPorts(t *testing.T) { onHostile(t).holds("S27") }

func TestPROBES_S28_NoOtherIdentity(t *testing.T) { onHostile(t).holds("S28") }

func TestPROBES_S30_NoPlacementOfMemory(t *testing.T) { onHostile(t).holds("S30") }

func TestPROBES_S31_NoSharedMemory(t *testing.T) { onHostile(t).holds("S31") }

func TestPROBES_S33_NoLooksAtThePageCache(t *testing.T) { onHostile(t).holds("S33") }

func TestPROBES_S34_NoClocks(t *testing.T) { onHostile(t).holds("S34") }

func TestPROBES_S36_NoFiltersOfItsOwn(t *testing.T) { onHostile(t).holds("S36") }

func TestPROBES_S13_S22_S25_S36_N39_ConditionsOnArguments(t *testing.T) {
	onHostile(t).holds("S37 args")
}

func TestPROBES_S38_NumbersBeyondTheHeaders(t *testing.T) { onHostile(t).holds("S38") }

func TestPROBES_S40_HandlersDoNotHelp(t *testing.T) { onHostile(t).holds("S40") }

// All of x32, a proc for each number.
func TestPROBES_S19_S37_EveryX32CallEndsTheProc(t *testing.T) {
	amd64Only(t)
	h := onHostile(t)
	var wg sync.WaitGroup
	bad := make(chan string, 1024)
	gate := make(chan struct{}, 32)
	for nr := range 1024 {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			d := probe("S19", fmt.Sprint(nr))
			d.Memory = 4 << 20
			id, err := h.c.Spawn(context.Background(), d)
			if err != nil {
				bad <- err.Error()
				return
			}
			st, err := h.c.WaitExit(context.Background(), id)
			out := 0
			h.c.Logs(context.Background(), api.LogQuery{Name: string(id)}, func(api.LogRecord, []byte) error { out++; return nil })
			if err != nil || st.Signal != 31 || out != 0 {
				bad <- fmt.Sprintf("x32 call %d: %v, %v, %d pieces of output", nr, st, err, out)
			}
		})
	}
	wg.Wait()
	close(bad)
	for b := range bad {
		t.Error(b)
	}
	w, err := h.c.Why(context.Background(), string(h.spawnAndWait(probe("S19", "1"))))
	if err != nil || !strings.Contains(strings.Join(w.Advice, " "), "x32") {
		t.Errorf("why does not explain a SIGSYS: %v %v", w.Advice, err)
	}
}

func (h *hostile) spawnAndWait(d *api.ProcDesc) api.ProcID {
	h.t.Helper()
	id := h.spawn(h.c, d)
	h.Await(h.c, id)
	return id
}

// What answers is exactly the documented list, and the page that people read
// lists the same.
func TestPROBES_S37_TheListAndNothingElse(t *testing.T) {
	onHostile(t).holds("S37")
	page, err := os.ReadFile(filepath.Join("..", "docs", "SYSCALLS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range seccomp.Allowed(runtime.GOARCH) {
		name := c.Name
		if !strings.Contains(string(page), "| "+name+" ") {
			t.Errorf("docs/SYSCALLS.md does not list %s", name)
		}
	}
}

// why names each refused call and says what to use instead.
func TestWhyNamesDeniedCalls(t *testing.T) {
	h := onHostile(t)
	id := h.spawnAndWait(probe("S13"))
	out, _, _ := h.Ctl("why", string(id))
	for _, want := range []string{"clone", "unshare", "Spawn another proc", "SYSCALLS.md"} {
		if !strings.Contains(out, want) {
			t.Errorf("why does not say %q:\n%s", want, out)
		}
	}
}
