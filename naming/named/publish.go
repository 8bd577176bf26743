package named

import (
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ops is the stage as operations of one transaction, beside the log, whose value
// has tail.
func (s *stage) ops(k keys, reserve uint64) (ops []clientv3.Op, tail []replay) {
	ops = make([]clientv3.Op, 0, s.keys()+besides)
	put := func(key string, value []byte) { ops = append(ops, clientv3.OpPut(key, string(value))) }
	remove := func(key string) { ops = append(ops, clientv3.OpDelete(key)) }
	for e, id := range s.ents {
		if id == 0 {
			remove(k.dirent(e))
		}
	}
	for _, d := range s.drafts {
		if (d.dirty || d.moved) && !d.removed && !d.orphan {
			put(k.file(&d.inode), d.encode())
		}
	}
	for id, l := range s.leases {
		if l == nil {
			remove(k.lease(id))
		} else {
			put(k.lease(id), l.encode())
		}
	}
	s.regroup()
	if n := len(s.group); n > 0 {
		put(k.replay(s.group[0].seq), encodeReplays(s.group))
	}
	for _, g := range s.st.groups[:s.forgotten] {
		remove(k.replay(g.first))
	}
	if reserve > 0 {
		put(k.ids(), encodeID(reserve))
	}
	return ops, s.tail
}

const (
	maxTail   = 8 // remembered writes in the log's value
	maxForget = 4 // groups that one transaction deletes
)

// regroup says where remembered writes are to be kept: the last few in the log's
// value, which is written in any case, and all of them in a key of their own as
// soon as they are more.
func (s *stage) regroup() {
	s.grouped, s.tail, s.group, s.forgotten = true, slices.Concat(s.st.replayTail, s.replays), nil, 0
	if len(s.tail) > maxTail {
		s.group, s.tail = s.tail, nil
	}
	next := s.st.replayNext + uint64(len(s.replays))
	for _, g := range s.st.groups[:min(maxForget, len(s.st.groups))] {
		if g.last+uint64(s.limits.Replays) < next {
			s.forgotten++
		}
	}
}

// publish makes the committed stage the state.
func (s *stage) publish(now time.Duration) {
	st := s.st
	for id, d := range s.drafts {
		s.publishInode(id, d)
	}
	for k, id := range s.ents {
		parent := st.nodes[k.parent]
		switch {
		case parent == nil: // the directory itself has gone since
		case id == 0:
			st.unlink(parent, k.name)
		default:
			st.link(parent, k.name, st.nodes[id])
		}
	}
	for id, rec := range s.leases {
		if rec == nil {
			st.dropLease(id)
		} else {
			st.addLease(id, *rec, now)
		}
	}
	// Files join their leases after the leases are there.
	for id, d := range s.drafts {
		if l := st.leases[d.Lease]; l != nil && !d.removed && !d.orphan {
			l.files[id] = struct{}{}
		}
	}
	for _, p := range s.replays {
		st.remember(p, s.limits.Replays)
	}
	if s.grouped { // else nothing was written
		st.replayTail, st.groups = s.tail, st.groups[s.forgotten:]
		if n := len(s.group); n > 0 {
			st.groups = append(st.groups, replayGroup{s.group[0].seq, s.group[n-1].seq})
		}
	}
	st.version, st.nextID = s.version, s.nextID
	st.files += s.files
	st.bytes += s.bytes
}

func (s *stage) publishInode(id uint64, d *draft) {
	st := s.st
	n := st.nodes[id]
	switch {
	case d.orphan:
		// Its last handle may have been closed while this was under way.
		if o := st.orphans[id]; o != nil {
			st.bytes += d.cost() - o.cost()
			o.inode = d.inode
		}
	case !d.removed && n == nil:
		st.nodes[id] = &node{inode: d.inode}
	case !d.removed:
		n.inode = d.inode
	case n != nil:
		delete(st.nodes, id)
		if l := st.leases[n.Lease]; l != nil {
			delete(l.files, id)
		}
		n.inode = d.inode
		if n.open > 0 {
			st.orphans[id] = n
			st.bytes += n.cost()
		}
	}
}
