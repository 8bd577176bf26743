package seccomp

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/SYSCALLS.md")

// page is docs/SYSCALLS.md.
func page() []byte {
	var b bytes.Buffer
	b.WriteString("# System calls of a proc\n\nMade from the table in `runtime/seccomp/calls.go` by `go test ./runtime/seccomp -update`.\n\n")
	b.WriteString("Everything else fails with EPERM, or ENOSYS where run-times probe for a call before they fall back.\ni386 and x32 calls end the process. ")
	for _, arch := range []string{"amd64", "arm64"} {
		fmt.Fprintf(&b, "On %s there are %d. ", arch, len(Allowed(arch)))
	}
	b.WriteString("The list for arm64 is checked against the kernel's numbers and has not been run.\n\n| call | when | for |\n|---|---|---|\n")
	for _, c := range common {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Name, c.When, c.Reason)
	}
	for _, c := range extra["amd64"] {
		fmt.Fprintf(&b, "| %s (amd64) | %s | %s |\n", c.Name, c.When, c.Reason)
	}
	return b.Bytes()
}

func TestDocumentIsUpToDate(t *testing.T) {
	const path = "../../docs/SYSCALLS.md"
	want := page()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/SYSCALLS.md is stale (%v): go test ./runtime/seccomp -update", err)
	}
}
