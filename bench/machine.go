package bench

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine says where a result was measured.
type Machine struct {
	Cores  int      `json:"cores"`
	Kernel string   `json:"kernel"`
	Cgroup string   `json:"cgroup"`
	Layers []string `json:"layers"`
	Stolen float64  `json:"stolen"` // share of CPU time the host took during the run
	Load   float64  `json:"load"`   // processes that wanted a CPU in the minute before it
}

// load is the machine's load average of one minute.
func load() (v float64) {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	v, _ = strconv.ParseFloat(first, 64)
	return v
}

func cores() int { return runtime.NumCPU() }

func kernel() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

type cpu struct{ total, steal uint64 }

// cpuTimes reads the first line of /proc/stat.
func cpuTimes() (c cpu) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return c
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	if !sc.Scan() {
		return c
	}
	for i, s := range strings.Fields(sc.Text())[1:] {
		v, _ := strconv.ParseUint(s, 10, 64)
		if i < 8 {
			c.total += v
		}
		if i == 7 {
			c.steal = v
		}
	}
	return c
}
