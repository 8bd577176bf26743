package ctl

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// bars shows a job: bars that grow on a terminal, else a line each time that
// something has changed, but not too often.
type bars struct {
	w     io.Writer
	tty   bool
	lines int // on the terminal, to be written over
	last  string
	at    time.Time
}

const (
	barWidth  = 40
	lineEvery = 300 * time.Millisecond
)

func newBars(w io.Writer) *bars {
	b := &bars{w: w}
	if f, ok := w.(*os.File); ok {
		st, err := f.Stat()
		b.tty = err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return b
}

// show shows lines in the place of those before; none while nothing is known.
func (b *bars) show(lines []string, last bool) {
	line := strings.Join(lines, "  ")
	switch {
	case len(lines) == 0 || line == b.last:
		return
	case b.tty:
		if b.lines > 0 {
			fmt.Fprintf(b.w, "\x1b[%dA", b.lines)
		}
		for _, l := range lines {
			fmt.Fprintf(b.w, "\r\x1b[K%s\n", l)
		}
		b.lines = len(lines)
	case time.Since(b.at) < lineEvery && !last:
		return
	default:
		fmt.Fprintln(b.w, line)
	}
	b.last, b.at = line, time.Now()
}

// bar is one line: what it is of, and how many are done, run, and were begun.
func bar(name string, done, running, total, attempts int) string {
	full, half := 0, 0
	if total > 0 {
		full = done * barWidth / total
		half = max(min((done+running)*barWidth/total, barWidth)-full, 0)
	}
	s := fmt.Sprintf("%-6s [%s%s%s] %d/%d", name, strings.Repeat("#", full), strings.Repeat("-", half), strings.Repeat(" ", barWidth-full-half), done, total)
	if more := attempts - done - running; more > 0 {
		s += fmt.Sprintf(", %d tried again", more)
	}
	return s
}

func ms(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
