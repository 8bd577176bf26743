package ctl

import (
	"fmt"
	"strings"
	"time"

	"sigmaos/api"
)

// step is the time between two stamps.
func step(from, to int64) string {
	if from == 0 || to == 0 {
		return "-"
	}
	return took(time.Duration(to - from))
}

// took is a duration with the digits that people look at.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2fms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0fms", d.Seconds()*1e3)
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return age(d)
}

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func sizeText(n int64) string {
	for _, u := range []struct {
		n int64
		s string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.n {
			return fmt.Sprintf("%.4g%s", float64(n)/float64(u.n), u.s)
		}
	}
	return fmt.Sprint(n)
}

// stateText is a proc's state, with the code where it left by itself.
func stateText(p api.ProcInfo) string {
	if p.Status != nil && p.Status.State == api.Exited {
		return fmt.Sprintf("exited %d", p.Status.Code)
	}
	return string(p.State)
}

// programText is what runs, as a person would say it: a digest alone says
// nothing, so it follows the name that is in the id.
func programText(p api.ProcInfo) string {
	s := p.Program
	if i := strings.LastIndexByte(string(p.ID), '-'); len(s) == 67 && s[:3] == "s1-" && i > 0 {
		s = string(p.ID[:i]) + "@" + s[3:11]
	}
	for _, a := range p.Args {
		if len(s)+len(a) > 50 {
			return s + " …"
		}
		if a == "" {
			a = `""`
		}
		s += " " + a
	}
	return printable(s)
}

// printable keeps what a tenant named from moving the cursor.
func printable(s string) string {
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			out[i] = '?'
		}
	}
	return string(out)
}
