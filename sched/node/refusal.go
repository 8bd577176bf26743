package node

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of a refusal, for errors.Is.
var (
	// ErrNever: this machine could not take the proc even if it were empty.
	ErrNever = errors.New("never fits on this node")
	// ErrNotNow: it could, once others have ended.
	ErrNotNow = errors.New("does not fit on this node now")
	// ErrBadRequest: the request makes no sense (a negative amount, an id that
	// is in the table already); a defect of the caller.
	ErrBadRequest = errors.New("bad request")
)

// Refusal says why a proc was not admitted. It is one of the Err kinds.
type Refusal struct {
	ID    string
	Kind  error // ErrNever, ErrNotNow or ErrBadRequest
	Evict bool  // an LC proc would fit if Evict(memory) were done first
	Text  string
}

func (r *Refusal) Error() string { return "admit " + r.ID + ": " + r.Text + ": " + r.Kind.Error() }

// Unwrap gives the kind.
func (r *Refusal) Unwrap() error { return r.Kind }

type reason int

const (
	absurd reason = iota
	twice
	neverCPU
	neverMemory
	nowCPU
	nowMemory
	evictable
)

// refuse words the refusal of p with the figures of this moment.
func (t *Table) refuse(why reason, p Proc) *Refusal {
	r := &Refusal{ID: p.ID, Kind: ErrNotNow}
	switch why {
	case absurd:
		r.Kind = ErrBadRequest
		r.Text = fmt.Sprintf("%d mCPU and %d bytes: neither can be negative", p.MCPU, p.Memory)
	case twice:
		r.Kind = ErrBadRequest
		r.Text = "is admitted already"
	case neverCPU:
		r.Kind = ErrNever
		r.Text = t.cpuText(p)
	case nowCPU:
		r.Text = t.cpuText(p)
	case neverMemory:
		r.Kind = ErrNever
		r.Text = t.memText(p)
	case nowMemory:
		r.Text = t.memText(p)
	case evictable:
		r.Evict = true
		r.Text = t.memText(p)
	}
	return r
}

func (t *Table) cpuText(p Proc) string {
	return fmt.Sprintf("needs %d mCPU; %d in all, %d reserved", p.MCPU, t.mcpu, t.lcCPU)
}

func (t *Table) memText(p Proc) string {
	return fmt.Sprintf("needs %s of memory; %s in all, %s reserved by LC, %s held by BE",
		size(p.Memory), size(t.mem), size(t.lcMem), size(t.beMem))
}

// size prints MiB, as people ask for it, and bytes where that would make two
// figures that differ look the same.
func size(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	text := fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	if n < 1<<20 || strings.HasSuffix(text, ".0 MiB") {
		return fmt.Sprintf("%d bytes", n)
	}
	return text
}
