package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sigmaos/sigma/admin"
)

func TestPROBES_P1_TheJailHasExactlyThis(t *testing.T) { onHostile(t).holds("P1") }

func TestPROBES_P2_NothingCanBeWritten(t *testing.T) { onHostile(t).holds("P2") }

func TestPROBES_P3_NoOtherProcess(t *testing.T) { onHostile(t).holds("P3") }

func TestPROBES_P5_NothingOfTheKernelInProc(t *testing.T) { onHostile(t).holds("P5") }

func TestPROBES_P7_P24_NoSysNoPressure(t *testing.T) { onHostile(t).holds("P7") }

func TestPROBES_P8_NoDevices(t *testing.T) { onHostile(t).holds("P8") }

func TestPROBES_P10_EveryWayUpEndsInTheJail(t *testing.T) { onHostile(t).holds("P10") }

func TestPROBES_P11_NoChroot(t *testing.T) { onHostile(t).holds("P11") }

func TestPROBES_P19_EveryProcHasItsOwnLayout(t *testing.T) { onHostile(t).holds("P19") }

func TestPROBES_P21_ARealmsPagesAreItsOwn(t *testing.T) { onHostile(t).holds("P21") }

func TestPROBES_N37_N38_EveryLayerIsOnAtTheFirstInstruction(t *testing.T) { onHostile(t).holds("N37") }

func TestPROBES_P10_TheFlagOnTheHost(t *testing.T) { onHostile(t).holds("flag") }

func TestPROBES_P6_NoNameOfTheHostOrOfAnotherRealm(t *testing.T) {
	h := onHostile(t)
	h.holds("P6")
	for _, a := range h.row("P6") {
		for _, bad := range []string{h.Dir, h.Name, h.realmIDs()["other"], "sigma-t"} {
			if strings.Contains(a.Text, bad) {
				t.Errorf("%s names %q:\n%s", a.Try, bad, a.Text)
			}
		}
	}
}

// realmIDs are the realms by name.
func (h *hostile) realmIDs() map[string]string {
	h.t.Helper()
	out, _, _ := h.Ctl("realm", "ls")
	ids := make(map[string]string)
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Fields(line); len(f) > 1 {
			ids[f[0]] = f[1]
		}
	}
	if ids["other"] == "" || ids["default"] == "" {
		h.t.Fatalf("realm ls:\n%s", out)
	}
	return ids
}

func TestPROBES_P13_NamesInBinfs(t *testing.T) {
	h := onHostile(t)
	h.holds("P13")
	// What the server logs of that is one line of printable text each.
	for _, line := range strings.Split(h.err.String(), "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\x1b' && r != '\t' }) {
			t.Errorf("the log has raw bytes of a proc's: %q", line)
		}
	}
}

func TestPROBES_P22_NoMergingOfPages(t *testing.T) {
	onHostile(t).holds("P22")
	out, _, _ := onHostile(t).Ctl("doctor")
	if !strings.Contains(out, "ksm") {
		t.Errorf("doctor does not look at KSM:\n%s", out)
	}
}

// The status line of Speculative Store Bypass, or the page that says why not.
func TestPROBES_P23_SpeculationIsShownOrListed(t *testing.T) {
	status := find(t, onHostile(t).row("N37"), "status").Text
	page, err := os.ReadFile(filepath.Join("..", "docs", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(status, "Speculation_Store_Bypass:\tthread force mitigated") && !strings.Contains(status, "not vulnerable") &&
		!strings.Contains(string(page), "Speculative Store Bypass") {
		t.Errorf("neither is it off nor does docs/SECURITY.md say so:\n%s", status)
	}
}

// Two procs never have one uid at the same time, whatever their realm.
func TestRule5_EverySlotHasAUidOfItsOwn(t *testing.T) {
	h := onHostile(t)
	uids := make(map[uint32]string)
	for i, c := range []*admin.Client{h.c, h.other, h.c, h.other, h.c, h.other} {
		d := sleeper(h.sleeper)
		mark := fmt.Sprintf("MARK=uid-%d", i)
		d.Env = []string{mark}
		id := h.Running(c, d)
		defer c.Kill(context.Background(), id, 0)
		pids := marked(mark)
		if len(pids) != 1 {
			t.Fatalf("%s has the host pids %v", id, pids)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(fmt.Sprintf("/proc/%d", pids[0]), &st); err != nil {
			t.Fatal(err)
		}
		if was, ok := uids[st.Uid]; ok || st.Uid < 100_000 {
			t.Errorf("uid %d is that of %s and of %q", st.Uid, id, was)
		}
		uids[st.Uid] = string(id)
	}
}
