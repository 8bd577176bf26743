package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

const arch = runtime.GOARCH

// Attempt is one line of the probe.
type Attempt struct {
	Row, Try string
	R        int64 // what came back; -errno for errors
	Text     string
	NR       int
	Args     [6]int64
}

// Errno is R as an error, nil where it is none.
func (a Attempt) Errno() error {
	if a.R < 0 && a.R > -4096 {
		return syscall.Errno(-a.R)
	}
	return nil
}

// payload is Text as the bytes that the probe had: it prints each as one rune.
func (a Attempt) payload() []byte {
	b := make([]byte, 0, len(a.Text))
	for _, r := range a.Text {
		b = append(b, byte(r))
	}
	return b
}

// Describe is a run of the probe for a row.
func Describe(row string, args ...string) *api.ProcDesc {
	return &api.ProcDesc{Program: path, Args: append([]string{row}, args...), Memory: 64 << 20}
}

// Lines is what a probe has printed, to its end where follow says so.
func Lines(ctx context.Context, c *admin.Client, id api.ProcID, follow bool) (out []Attempt, err error) {
	var text bytes.Buffer
	err = c.Logs(ctx, api.LogQuery{Name: string(id), Follow: follow, Stream: 1}, func(_ api.LogRecord, b []byte) error {
		text.Write(b)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", id, err)
	}
	for line := range bytes.Lines(text.Bytes()) {
		var a Attempt
		if err := json.Unmarshal(line, &a); err != nil {
			return out, fmt.Errorf("%s printed %q: %w", id, line, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// ToItsEnd is what a probe printed before it said that it came to its end, or the
// error that it did not.
func ToItsEnd(got []Attempt, st api.Status) ([]Attempt, error) {
	if n := len(got); !st.OK() || n < 2 || got[n-1].Try != "end" || got[n-1].R != int64(n-1) {
		return nil, fmt.Errorf("came to %v after %d lines, not to its end; the last are %v", st, n, got[max(0, n-3):])
	}
	return got[:len(got)-1], nil
}

// Refused says which attempts had another answer than they must. but lists what may
// come back, by the beginning of an attempt's name: the longest counts. What is not
// listed must be refused by EPERM or ENOSYS.
func Refused(got []Attempt, atLeast int, but map[string][]int64) (findings []string) {
	if len(got) < atLeast {
		findings = append(findings, fmt.Sprintf("only %d attempts were made, want %d", len(got), atLeast))
	}
	for _, a := range got {
		want, best := []int64{eperm, enosys}, -1
		for prefix, codes := range but {
			if strings.HasPrefix(a.Try, prefix) && len(prefix) > best {
				want, best = codes, len(prefix)
			}
		}
		if !slices.Contains(want, a.R) {
			findings = append(findings, fmt.Sprintf("%s: %d (%v), want one of %v", a.Try, a.R, a.Errno(), want))
		}
	}
	return findings
}

// Find returns the attempt of a name.
func Find(got []Attempt, try string) (Attempt, error) {
	i := slices.IndexFunc(got, func(a Attempt) bool { return a.Try == try })
	if i < 0 {
		return Attempt{}, fmt.Errorf("there is no attempt %q among %d", try, len(got))
	}
	return got[i], nil
}
