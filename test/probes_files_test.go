package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sigmaos/sigma/admin"
)

// The jail, whole: what docs/PROC-ABI.md lists, and the proc itself in /proc.
func TestPROBES_P1_TheJailHasExactlyThis(t *testing.T) {
	h := onHostile(t)
	got := h.row("P1")
	want := []string{
		"/dev", "/dev/null", "/dev/urandom", "/dev/zero",
		"/etc", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/passwd", "/etc/ssl", "/etc/ssl/certs",
		"/mnt", "/mnt/binfs",
		"/proc", "/proc/PID", "/proc/self", "/proc/thread-self",
	}
	for _, copied := range []string{"/etc/localtime", "/etc/ssl/certs/ca-certificates.crt"} {
		if _, err := os.Stat(copied); err == nil { // of the host, where it has them
			want = append(want, copied)
		}
	}
	slices.Sort(want)
	var seen []string
	number := regexp.MustCompile(`^/proc/\d+$`)
	for _, a := range got {
		switch {
		case a.R == enoent: // not there
		case a.Try == "/mnt/binfs" && a.R == eacces: // not to be listed
		case a.R == 0:
			seen = append(seen, number.ReplaceAllString(a.Try, "/proc/PID"))
		default:
			t.Errorf("%s: %d (%v)", a.Try, a.R, errno(a.R))
		}
	}
	slices.Sort(seen)
	if !slices.Equal(seen, want) {
		t.Errorf("a proc sees\n%q, want\n%q", seen, want)
	}
}

func TestPROBES_P2_NothingCanBeWritten(t *testing.T) {
	h := onHostile(t)
	no := []int64{eperm, enosys, erofs, eacces}
	refused(t, h.row("P2"), 240, map[string][]int64{
		"": no,
		// /proc makes no names at all.
		"create /proc": append(no, enoent), "tmpfile /proc": append(no, enoent, -95), "tmpfile /": append(no, -95, -21),
	})
	// The next proc finds the jail as it was.
	h2 := onHostile(t)
	for _, a := range h2.row("P1") {
		if strings.HasSuffix(a.Try, "/x") || strings.HasSuffix(a.Try, "/y") {
			t.Errorf("%s has appeared", a.Try)
		}
	}
}

func TestPROBES_P3_NoOtherProcess(t *testing.T) {
	h := onHostile(t)
	pids := []string{fmt.Sprint(h.PID()), fmt.Sprint(os.Getpid())}
	all, _ := filepath.Glob("/proc/[0-9]*") // victims, slots, binfs: everything
	for _, p := range all[:min(len(all), 60)] {
		pids = append(pids, filepath.Base(p))
	}
	got := h.row("P3", pids...)
	self := find(t, got, "pid").R
	mine := fmt.Sprintf("/proc/%d", self)
	n := 0
	for _, a := range got {
		switch {
		case a.Try == "pid":
		case a.Try == "exists "+mine:
			n++
		case a.Try == mine || strings.HasPrefix(a.Try, mine+"/"): // a host pid that is ours in there
		case a.R != enoent:
			t.Errorf("%s: %d (%v)", a.Try, a.R, errno(a.R))
		}
	}
	if n != 1 {
		t.Errorf("the proc saw itself %d times", n)
	}
}

func TestPROBES_P5_NothingOfTheKernelInProc(t *testing.T) {
	h := onHostile(t)
	refused(t, h.row("P5"), 100, map[string][]int64{
		"": {enoent}, "/proc/net": {enoent}, "/proc/self/net": {enoent, eacces}, "/proc/thread-self/net": {enoent, eacces},
	})
}

func TestPROBES_P6_NoNameOfTheHostOrOfAnotherRealm(t *testing.T) {
	h := onHostile(t)
	realms := h.realmIDs()
	host, _ := os.Hostname()
	for _, a := range h.row("P6") {
		if a.R != 0 {
			t.Errorf("%s: %d (%v)", a.Try, a.R, errno(a.R))
		}
		for _, bad := range []string{h.Dir, h.Name, realms["other"], "sigma-t", "/sys/", "/var/", "/home", "/root/", "/tmp"} {
			if strings.Contains(a.Text, bad) {
				t.Errorf("%s names %q:\n%s", a.Try, bad, a.Text)
			}
		}
		if a.Try == "uname" && (a.Text == host || a.Text != "sigma") {
			t.Errorf("the host's name is %q inside", a.Text)
		}
		if strings.HasSuffix(a.Try, "/cgroup") && strings.ContainsAny(strings.ReplaceAll(a.Text, ":/\n", ""), "/") {
			t.Errorf("/proc/self/cgroup names groups:\n%s", a.Text)
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

func TestPROBES_P7_P24_NoSysNoPressure(t *testing.T) {
	refused(t, onHostile(t).row("P7"), 22, map[string][]int64{"": {enoent}})
}

func TestPROBES_P8_NoDevices(t *testing.T) {
	refused(t, onHostile(t).row("P8"), 33, map[string][]int64{"/dev": {enoent}})
}

func TestPROBES_P10_EveryWayUpEndsInTheJail(t *testing.T) {
	got := onHostile(t).row("P10")
	refused(t, got, 16, map[string][]int64{"": {0}, "pid 1": {enoent}})
}

func TestPROBES_P11_NoChroot(t *testing.T) {
	got := onHostile(t).row("P11")
	refused(t, got, 5, map[string][]int64{"getcwd": {0}})
	if cwd := find(t, got, "getcwd").Text; cwd != "/" {
		t.Errorf("the working directory is %q", cwd)
	}
}

func TestPROBES_P13_NamesInBinfs(t *testing.T) {
	h := onHostile(t)
	realms := h.realmIDs()
	// A program that the other realm alone has.
	alone := filepath.Join(t.TempDir(), "alone")
	b, err := os.ReadFile(Proc(t, "hello-raw"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, append(b, "only here"...), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, e, code := h.Ctl("--realm", "other", "run", alone, "-q"); code != 0 {
		t.Fatal(e)
	}
	out, _, _ := h.Ctl("--realm", "other", "programs")
	digest := regexp.MustCompile(`/bin/alone\s+\S+\s+(s1-\S+)`).FindStringSubmatch(out)
	if digest == nil {
		t.Fatalf("programs:\n%s", out)
	}
	got := h.row("P13", digest[1], "../"+realms["other"], "../"+realms["other"]+"/"+digest[1], realms["other"]+"/"+digest[1], digest[1]+".tree", "../../"+realms["other"])
	const enametoolong, enotdir = -36, -20
	refused(t, got, 30, map[string][]int64{
		"": {enoent}, "the folder": {eacces}, "exclusive": {erofs, eacces, enoent}, "a program with": {enotdir}, "through a program": {enotdir},
		"bytes 4097": {enametoolong}, "s1-x/": {enoent, enotdir},
	})
	// What the server logs of that is one line of printable text each.
	for _, line := range strings.Split(h.err.String(), "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\x1b' && r != '\t' }) {
			t.Errorf("the log has raw bytes of a proc's: %q", line)
		}
	}
}

// Addresses differ between procs that came out of one slot: exec draws them.
func TestPROBES_P19_EveryProcHasItsOwnLayout(t *testing.T) {
	h := onHostile(t)
	seen := make(map[string]map[int64]bool)
	const runs = 6
	for range runs {
		for _, a := range h.row("P19") {
			if seen[a.Try] == nil {
				seen[a.Try] = make(map[int64]bool)
			}
			seen[a.Try][a.R] = true
		}
	}
	for what, values := range seen {
		if len(values) < runs-1 {
			t.Errorf("%s: %d different addresses in %d procs", what, len(values), runs)
		}
	}
	if len(seen) != 3 {
		t.Errorf("looked at %v", seen)
	}
}

// One program in two realms is two files, so that the page cache tells neither
// what the other ran; S33 closes the calls that would look.
func TestPROBES_P21_ARealmsPagesAreItsOwn(t *testing.T) {
	h := onHostile(t)
	mine, theirs := h.row("P21"), h.rowAs(h.other, probe("P21"))
	a, b := find(t, mine, "inode").R, find(t, theirs, "inode").R
	if a == b || a == 0 || find(t, mine, "stat").R != 0 {
		t.Errorf("inode %d in one realm, %d in the other", a, b)
	}
	if again := find(t, h.row("P21"), "inode").R; again != a {
		t.Errorf("and in the same realm %d, then %d", a, again)
	}
}

func TestPROBES_P22_NoMergingOfPages(t *testing.T) {
	refused(t, onHostile(t).row("P22"), 4, nil)
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

// holdsEveryLayer reads /proc/self/status.
func holdsEveryLayer(t *testing.T, status string) {
	t.Helper()
	for _, want := range []string{
		"Seccomp:\t2\n", "Seccomp_filters:\t1\n", "NoNewPrivs:\t1\n", "CapInh:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
		"CapBnd:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "Groups:\t \n", "TracerPid:\t0\n", "SigIgn:\t0000000000000000\n", "SigBlk:\t0000000000000000\n", "SigPnd:\t0000000000000000\n",
	} {
		if !strings.Contains(status, want) {
			t.Errorf("status does not say %q:\n%s", want, status)
		}
	}
	uid := regexp.MustCompile(`Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)\nGid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)\n`).FindStringSubmatch(status)
	if uid == nil {
		t.Fatalf("no uids in:\n%s", status)
	}
	for _, u := range uid[1:] {
		if u != uid[1] || len(u) < 6 {
			t.Errorf("uids and gids %v, want one that is the slot's", uid[1:])
		}
	}
}

// At its first instruction a proc is under every layer, has nothing of PID 1 in
// its registers, four descriptors and no memory that anybody else can write.
func TestPROBES_N37_N38_EveryLayerIsOnAtTheFirstInstruction(t *testing.T) {
	h := onHostile(t)
	for range 3 { // a used slot is as clean as a new one
		got := h.row("N37")
		holdsEveryLayer(t, find(t, got, "status").Text)
		maps := find(t, got, "maps").Text
		if regexp.MustCompile(`(?m)^\S+ ..[w-].s`).MatchString(maps) || regexp.MustCompile(`(?m)^\S+ .wx`).MatchString(maps) || maps == "" {
			t.Errorf("memory that is shared, or writable and executable:\n%s", maps)
		}
		var open []string
		for _, a := range got {
			if strings.HasPrefix(a.Try, "register ") && a.R != 0 {
				t.Errorf("%s is %#x", a.Try, a.R)
			}
			if n, ok := strings.CutPrefix(a.Try, "open "); ok {
				open = append(open, n)
			}
		}
		if !slices.Equal(open, []string{"0", "1", "2", "3"}) {
			t.Errorf("open descriptors %v", open)
		}
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
