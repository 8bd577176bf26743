// Package pull decides how best-effort procs get from the shards of the queue to
// the nodes. It is policy only: no socket, no goroutine, no lock, and time is what
// the caller says. A schedd owns a [Puller], a besched owns a [Shard].
//
// # The node's half
//
// A node asks for work when it has something to offer, and for no more than that:
//
//   - memory that is neither reserved nor held by other procs;
//   - slots: as many procs as it has cores that no latency-critical proc has
//     reserved, less those it has taken and that have not ended. Where the machine
//     is idle all the same (procs that wait for something, or that live for a
//     millisecond), the number above the cores doubles with every sample of the CPU,
//     and it is halved with every sample that shows no idle core. So no node takes
//     the whole queue next door while others idle, and none stays idle for long;
//   - a share for realms that have less than theirs here: the kernel divides a
//     machine equally between the realms that run on it, so a realm has its share
//     of a machine if it has enough procs there, even where others came first and
//     their procs run for hours. The shard knows who waits, and adds such procs
//     where the slots are used up (see [Grant]).
//
// It asks the shard of its own node first, then others at random, those first that
// are known to have work; of two the one with the longer queue. One ask in
// [Config.OwnTurns] goes past its own shard, and any does if another queue is known
// to be twice as long, so that no queue is left to itself because its own node is
// slow. A shard that had nothing is left alone, each time for twice as long. One that
// does not answer within [Config.Answer] does not keep the credit: the ask counts no
// more, and what it may bring after all is taken if it fits, or given back.
//
// # The shard's half
//
// A shard answers at once with what fits. A node that could have taken more is
// remembered, and told ([Hint]) when something comes that it could take: its own
// node before others, then who asked last. It then asks, or declines, and another is
// told. Hints may get lost: then the nodes' own asks, with their back-off, find the
// work.
//
// # Near
//
// A proc may name nodes on which it had better run ([be.Item.Near]), for what it reads
// is there. If one of them could take it, as far as it has said, that one is told before
// any other, and until it has answered, at most [Hold] after it was told, others do not
// get the proc. They get what comes behind it meanwhile; it keeps its place in its
// realm's queue, and the realm its turn. Once the node has asked and did not get it, has
// declined, is dead or silent, the proc is like any other, and whoever could take it is
// told. So nothing waits for a node that is busy or that nothing is known of, a node that
// says nothing delays what is near it once, until it asks again, and a proc that names
// nodes gets nothing that it would not have got without that.
package pull
