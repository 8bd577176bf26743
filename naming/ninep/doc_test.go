package ninep

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// docs/PROTOCOL.md has every message under its number, every kind with its errno,
// and the limits that hold.
func TestProtocolPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for typ := range 256 {
		m := newAsked(uint8(typ))
		if m == nil {
			continue
		}
		name := strings.TrimPrefix(fmt.Sprintf("%T", m), "*ninep.")
		if row := fmt.Sprintf("| %d | %s |", typ, name); !strings.Contains(page, row) {
			t.Errorf("the page has no row %q", row)
		}
	}
	for typ, name := range map[int]string{tFlush: "flush", tLerror + 1: "lerror", tSerror + 1: "serror"} {
		if row := fmt.Sprintf("| %d | %s |", typ, name); !strings.Contains(page, row) {
			t.Errorf("the page has no row %q", row)
		}
	}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| (\w+) \|`).FindAllStringSubmatch(page, -1) {
		var typ int
		fmt.Sscan(row[1], &typ)
		if newAsked(uint8(typ)) == nil && newAnswer(uint8(typ)) == nil && typ != tFlush {
			t.Errorf("the page has %s %s, which is no message", row[1], row[2])
		}
	}
	for _, e := range errnos {
		if cell := fmt.Sprintf("| %s | %s %d |", e.kind, name(e.errno), int(e.errno)); !strings.Contains(page, cell) {
			t.Errorf("the page has no %q", cell)
		}
	}
	o := Options{}.withDefaults()
	for _, want := range []string{
		fmt.Sprintf("| fids | %s |", thousands(o.Fids)), fmt.Sprintf("| open files and directories | %s |", thousands(o.Handles)),
		fmt.Sprintf("%d; %s; %d MiB", o.Requests, thousands(o.Waiting), o.Bytes>>20), fmt.Sprintf("| watches | %s |", thousands(o.Watches)),
		fmt.Sprintf("%.0f s; %.0f s", o.Read.Seconds(), o.Write.Seconds()), fmt.Sprintf("at the server (%s events)", thousands(o.Unread)),
		fmt.Sprintf("nothing for %.0f s", o.Slow.Seconds()), fmt.Sprintf("msize from %s", thousands(minMsize)), versionSigma,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// name is the symbol of an errno that has a kind.
func name(e syscall.Errno) string {
	return map[syscall.Errno]string{
		syscall.EINVAL: "EINVAL", syscall.ENOENT: "ENOENT", syscall.EEXIST: "EEXIST", syscall.EFBIG: "EFBIG", syscall.ENOSPC: "ENOSPC",
		syscall.EDQUOT: "EDQUOT", syscall.EACCES: "EACCES", syscall.EHOSTDOWN: "EHOSTDOWN", syscall.EIO: "EIO", syscall.EOPNOTSUPP: "EOPNOTSUPP",
		syscall.EBUSY: "EBUSY", syscall.ENOTDIR: "ENOTDIR", syscall.EISDIR: "EISDIR", syscall.ENOTEMPTY: "ENOTEMPTY", syscall.ESTALE: "ESTALE",
		syscall.ELOOP: "ELOOP", syscall.ECANCELED: "ECANCELED", syscall.ETIMEDOUT: "ETIMEDOUT",
	}[e]
}
