package bench

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// watch looks at the connections of procs from outside: what their descriptor
// is, and whether their node's sigmad has to do with what goes over it.
type watch struct {
	table                      string // tcp or unix: where the socket must be listed
	serverSigmad, clientSigmad int    // pids; the same on one node
	before                     int64  // bytes that the sigmads had read and written
	rounds, ours, held         int    // looked at, as they should be, still open in a sigmad
	example                    string
}

func newWatch(table string, serverSigmad, clientSigmad int) (*watch, error) {
	w := &watch{table: table, serverSigmad: serverSigmad, clientSigmad: clientSigmad}
	var err error
	w.before, err = w.traffic()
	return w, err
}

// sigmads are the pids, each once.
func (w *watch) sigmads() []int { return slices.Compact([]int{w.serverSigmad, w.clientSigmad}) }

// look is called while a server and a client are connected.
func (w *watch) look(s *session) error {
	w.rounds++
	for _, end := range []struct{ pid, sigmad int }{{s.server, w.serverSigmad}, {s.client, w.clientSigmad}} {
		listed, err := socketTable(end.sigmad, w.table)
		if err != nil {
			return err
		}
		open, err := sockets(end.pid)
		if err != nil {
			return err
		}
		fd := 0
		for n, inode := range open {
			if n > 3 && listed[inode] { // 3 is the control channel
				fd = n
			}
		}
		if fd == 0 {
			return nil // not counted as ours
		}
		if w.example == "" {
			w.example = fmt.Sprintf("descriptor %d of process %d is socket:[%s], which is in /proc/%d/net/%s", fd, end.pid, open[fd], end.sigmad, w.table)
		}
		theirs, err := sockets(end.sigmad)
		if err != nil {
			return err
		}
		for _, inode := range theirs {
			if inode == open[fd] {
				w.held++
			}
		}
	}
	w.ours++
	return nil
}

// checks says what was seen; moved is how many bytes went over the connections.
func (w *watch) checks(row string, moved int64) ([]Check, error) {
	after, err := w.traffic()
	if err != nil {
		return nil, err
	}
	passed := after - w.before
	kind := "TCP socket of the node"
	if w.table == "unix" {
		kind = "end of a socketpair"
	}
	return []Check{
		{row + ": descriptor", w.ours == w.rounds && w.rounds > 0 && w.held == 0,
			fmt.Sprintf("in %d of %d rounds both procs had the %s itself, and sigmad had it still open in %d (%s)", w.ours, w.rounds, kind, w.held, w.example)},
		{row + ": payload", passed*100 < moved,
			fmt.Sprintf("sigmad read and wrote %d bytes, its own work included, while the procs moved %d (%.3f %%)", passed, moved, 100*float64(passed)/float64(moved))},
	}, nil
}

// traffic is what the sigmads have read and written in all.
func (w *watch) traffic() (sum int64, err error) {
	for _, pid := range w.sigmads() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			name, v, _ := strings.Cut(line, ":")
			if name == "rchar" || name == "wchar" {
				n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
				if err != nil {
					return 0, err
				}
				sum += n
			}
		}
	}
	return sum, nil
}

// sockets are the inodes of a process's sockets, by descriptor.
func sockets(pid int) (map[int]string, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := make(map[int]string)
	for _, e := range list {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			if n, err := strconv.Atoi(e.Name()); err == nil {
				out[n] = strings.TrimSuffix(inode, "]")
			}
		}
	}
	return out, nil
}

// inodeColumn of the tables in /proc/PID/net.
var inodeColumn = map[string]int{"tcp": 9, "tcp6": 9, "unix": 6}

// socketTable reads the inodes of a kind of socket in the network of a process.
func socketTable(pid int, kind string) (map[string]bool, error) {
	out := make(map[string]bool)
	kinds := []string{kind}
	if kind == "tcp" {
		kinds = append(kinds, "tcp6")
	}
	for _, k := range kinds {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, k))
		if errors.Is(err, os.ErrNotExist) && k == "tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			if c := strings.Fields(sc.Text()); len(c) > inodeColumn[k] {
				out[c[inodeColumn[k]]] = true
			}
		}
		f.Close()
		if err := sc.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
