package ux

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// replays remembers the latest Puts with an id, so that one which is sent again
// changes nothing. The files themselves remember their latest too (meta.done):
// that holds over a restart, this when the file has moved on.
type replays struct {
	mu    sync.Mutex
	done  map[uint64]tree.Attr
	order []uint64
	next  int
}

const maxReplays = 1024

// replayHash stands for an id; ids of two users are two. Zero is no id.
func replayHash(c api.Caller, id string) uint64 {
	if id == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(c.User + "\x00" + id))
	return max(binary.LittleEndian.Uint64(sum[:]), 1)
}

func (r *replays) seen(h uint64) (tree.Attr, bool) {
	if h == 0 {
		return tree.Attr{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.done[h]
	return a, ok
}

func (r *replays) add(h uint64, a tree.Attr) {
	if h == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = make(map[uint64]tree.Attr)
	}
	if len(r.order) < maxReplays {
		r.order = append(r.order, h)
	} else {
		delete(r.done, r.order[r.next])
		r.order[r.next] = h
		r.next = (r.next + 1) % maxReplays
	}
	r.done[h] = a
}

// did reports whether the file itself remembers the Put h.
func (m *meta) did(h uint64) bool { return h != 0 && slices.Contains(m.done, h) }

// remember returns done with h, the oldest forgotten.
func (m *meta) remember(h uint64) []uint64 {
	if h == 0 {
		return m.done
	}
	old := m.done
	if len(old) >= maxDone {
		old = old[len(old)-maxDone+1:]
	}
	return append(slices.Clone(old), h)
}
