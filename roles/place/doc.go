// Package place is how the procs of a cluster get to its nodes. It feeds the pure
// policy of sched/ with what a node and its peers say, and carries out what that
// decides. It has no socket: messages go out through [Config.Send] and come in
// through [Engine.Receive], over the conversations of net/talk.
//
// # Four parts
//
// Each node has one [Engine] with four parts behind one lock. A message between two
// parts of one node is a function call; only what leaves the node is encoded.
//
//	home     of the procs whose Spawn this node took: who has each of them
//	shard    of the best-effort queue, where this node holds one (sched/be, sched/pull)
//	lcsched  places latency-critical procs, where this node is it (sched/lc)
//	runner   what this node takes and runs (sched/node, sched/pull)
//
// The parts are told what a proc's life is by the [Host], which runs it, and tell
// the Host of its home what becomes of it.
//
//	home ── submit ──▶ shard ── grant ──▶ runner      (the runner has asked)
//	  ▲  ◀── moved ───── │                  │
//	  └──── taken, began, wrote, ended ─────┘
//
// For a latency-critical proc lcsched is in the place of the shard, and sends its
// decision unasked.
//
// # What depends on what
//
// There is one rule: when a conversation ends, what depended on it is lost.
//
//   - A proc that its runner has taken depends on the conversation of home and
//     runner. Until then it depends on those of its home with whoever has the
//     order, and with the runner that this one has named.
//   - A home makes such procs Lost, once and for good. A runner ends the procs of
//     that home. A shard and lcsched forget its orders.
//   - An order that was on its way between shard and runner when their conversation
//     ended may have arrived. It is never given to another: its home is told that
//     it is lost.
//
// A runner whose taken is about a proc that its home does not know, or has given up,
// is told to drop it. So is a node that may still get the order: it keeps such drops
// (a bounded number), so that an order that they overtake is not started. That a
// proc is never started twice does not rest on this: an order is at one place, and
// whoever gives it away has it no more.
//
// # Who holds what
//
// Shards and lcsched follow from the members that gossip knows (sched/elect). A node
// that does not hold what it is asked for says so, and the home asks another one.
// Two nodes may take themselves for lcsched for a moment; an epoch from etcd decides
// whom the runners obey.
package place
