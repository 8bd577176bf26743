package named

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ops is the stage as operations of one transaction, beside the log.
func (s *stage) ops(k keys, reserve uint64) []clientv3.Op {
	ops := make([]clientv3.Op, 0, s.keys()+2)
	put := func(key string, value []byte) { ops = append(ops, clientv3.OpPut(key, string(value))) }
	for id, d := range s.drafts {
		switch {
		case d.orphan:
		case d.removed:
			ops = append(ops, clientv3.OpDelete(k.inode(id)))
		case d.dirty:
			put(k.inode(id), d.encode())
		}
	}
	for e, id := range s.ents {
		if id == 0 {
			ops = append(ops, clientv3.OpDelete(k.dirent(e)))
		} else {
			put(k.dirent(e), encodeDirent(id, s.get(id).Mode))
		}
	}
	for id, l := range s.leases {
		if l == nil {
			ops = append(ops, clientv3.OpDelete(k.lease(id)))
		} else {
			put(k.lease(id), l.encode())
		}
	}
	for i := range s.replays {
		p := &s.replays[i]
		put(k.replay(p.seq), p.encode())
		if limit := uint64(s.limits.Replays); p.seq > limit {
			ops = append(ops, clientv3.OpDelete(k.replay(p.seq-limit)))
		}
	}
	if reserve > 0 {
		put(k.ids(), encodeID(reserve))
	}
	return ops
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
