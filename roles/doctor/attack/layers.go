package attack

import (
	"regexp"
	"slices"
	"strings"
)

// everyLayer reads /proc/self/status.
func (c *check) everyLayer(status string) {
	for _, want := range []string{
		"Seccomp:\t2\n", "Seccomp_filters:\t1\n", "NoNewPrivs:\t1\n", "CapInh:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
		"CapBnd:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "Groups:\t \n", "TracerPid:\t0\n", "SigIgn:\t0000000000000000\n", "SigBlk:\t0000000000000000\n", "SigPnd:\t0000000000000000\n",
	} {
		if !strings.Contains(status, want) {
			c.errorf("status does not say %q:\n%s", want, status)
		}
	}
	uid := regexp.MustCompile(`Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)\nGid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)\n`).FindStringSubmatch(status)
	if uid == nil {
		c.fatalf("no uids in:\n%s", status)
	}
	for _, u := range uid[1:] {
		if u != uid[1] || len(u) < 6 {
			c.errorf("uids and gids %v, want one that is the slot's", uid[1:])
		}
	}
}

// firstInstruction: every layer is on, nothing of PID 1 is in the registers, there
// are four descriptors and no memory that anybody else can write; in a used slot
// as in a new one.
func firstInstruction(c *check) {
	for range 3 {
		got := c.row("N37")
		c.everyLayer(c.find(got, "status").Text)
		maps := c.find(got, "maps").Text
		if regexp.MustCompile(`(?m)^\S+ ..[w-].s`).MatchString(maps) || regexp.MustCompile(`(?m)^\S+ .wx`).MatchString(maps) || maps == "" {
			c.errorf("memory that is shared, or writable and executable:\n%s", maps)
		}
		var open []string
		for _, a := range got {
			if strings.HasPrefix(a.Try, "register ") && a.R != 0 {
				c.errorf("%s is %#x", a.Try, a.R)
			}
			if n, ok := strings.CutPrefix(a.Try, "open "); ok {
				open = append(open, n)
			}
		}
		if !slices.Equal(open, []string{"0", "1", "2", "3"}) {
			c.errorf("open descriptors %v", open)
		}
	}
}
