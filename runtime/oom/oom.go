// Package oom says whom the kernel ends first when memory runs out.
//
// Every limit that σOS sets ends only what exceeded it. But the machine's own
// memory, or a limit that somebody put around sigmad, can run out too, because of
// processes that are not ours. Then the kernel ends the process with the highest
// badness: its memory, in thousandths of what there is, plus its oom_score_adj. So
//
//	BE procs   1000                   more than anything below can come to
//	LC procs   0, or above sigmad's
//	sigmad     −900 where it may      and the helpers that it starts
//
// Lowering one's own figure needs CAP_SYS_RESOURCE, which root in a container
// may lack. sigmad then keeps the one that it was started with, and LC procs get
// theirs above it: the order is the same, as long as no LC proc has more than
// nine tenths of the memory.
package oom

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	most  = 1000 // the kernel's greatest
	spare = -900 // −1000 would be never, and then the machine could hang
	above = 100  // of LC procs over a sigmad that could not lower its own
)

// Order is what processes of a node get.
type Order struct {
	Sigmad int // and its helpers
	LC, BE int
}

// Protect lowers this process, and with it the helpers that it starts later, as
// far as it may, and returns what the procs get.
func Protect() (Order, error) {
	own, err := Score(os.Getpid())
	if err != nil {
		return Order{}, err
	}
	if own > spare && Set(os.Getpid(), spare) == nil {
		own = spare
	}
	return order(own), nil
}

// order puts the procs above a sigmad that has own.
func order(own int) Order {
	return Order{Sigmad: own, LC: min(max(own+above, 0), most), BE: most}
}

func file(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid), "oom_score_adj") }

// Score is a process's oom_score_adj.
func Score(pid int) (int, error) {
	b, err := os.ReadFile(file(pid))
	if err != nil {
		return 0, fmt.Errorf("oom: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("oom: %s: %w", file(pid), err)
	}
	return n, nil
}

// Set gives a process and those that it starts from now on a score. It may always
// be raised, and lowered as far as it was before.
func Set(pid, score int) error {
	if err := os.WriteFile(file(pid), []byte(strconv.Itoa(score)), 0); err != nil {
		return fmt.Errorf("oom: setting %d: %w", score, err)
	}
	return nil
}
