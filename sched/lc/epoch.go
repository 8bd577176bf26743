package lc

// Fence is what a schedd keeps so that it obeys one lcsched at a time, and each
// decision of it once. It is not safe for concurrent use.
type Fence struct {
	epoch uint64
	seen  uint64 // decisions up to here are done with
	n     uint64 // messages sent in this epoch
}

// Hello is what lcsched says first on every link to a node, and again whenever it
// wants a report: decisions up to Seq were sent before.
type Hello struct {
	Epoch uint64
	Seq   uint64
}

// Hello takes lcsched's greeting. ok is false for an old epoch: its sender is to
// be told of Epoch and otherwise ignored. Afterwards no decision of an earlier
// epoch passes, nor one up to h.Seq that has not come yet; a report follows.
func (f *Fence) Hello(h Hello) (ok bool) {
	if h.Epoch < f.epoch {
		return false
	}
	if h.Epoch > f.epoch {
		*f = Fence{epoch: h.Epoch}
	}
	f.seen = max(f.seen, h.Seq)
	return true
}

// Pass says whether a decision is to be obeyed: its epoch is the one of the last
// Hello, and it has not come before. A proc whose decision does not pass, and that
// the node does not know, never starts there; its home is to be told, since the
// lcsched that sent it may be none any more.
func (f *Fence) Pass(epoch, seq uint64) bool {
	if epoch != f.epoch || epoch == 0 || seq <= f.seen {
		return false
	}
	f.seen = seq
	return true
}

// Epoch is the newest that this schedd has heard of; 0 is none.
func (f *Fence) Epoch() uint64 { return f.epoch }

// Seen goes into reports: decisions up to it are done with.
func (f *Fence) Seen() uint64 { return f.seen }

// Stamp numbers the next message to lcsched. Messages must be stamped in the order
// of the events that they tell.
func (f *Fence) Stamp(node uint16, boot uint32) From {
	f.n++
	return From{Node: node, Boot: boot, Epoch: f.epoch, N: f.n}
}

// From heads every message of a node to lcsched.
type From struct {
	Node  uint16
	Boot  uint32
	Epoch uint64 // that the node obeys
	N     uint64 // grows with each message of the node in that epoch
}
