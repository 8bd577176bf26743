package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
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

// describe is a run of the probe for a row.
func describe(row string, args ...string) *api.ProcDesc {
	return &api.ProcDesc{Program: path, Args: append([]string{row}, args...), Memory: 64 << 20}
}

// lines is what a probe has printed, to its end where follow says so.
func lines(ctx context.Context, c *admin.Client, id api.ProcID, follow bool) (out []Attempt, err error) {
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
