// Package lc is the table and the queue of lcsched, which places latency-critical
// procs. It is policy only: no clock, no socket, no goroutine, no lock; lcsched
// owns a [Table], guards it, tells it what nodes say, and sends out the
// [Decision]s that it then finds in [Table.Decisions].
//
// # Placing
//
// A request goes to the node on which it leaves least over (best fit), CPU and
// memory weighed together, each against the largest node's; of equal nodes the
// lowest number. A node is considered if gossip knows it, it has reported in this
// epoch, its figures are fresh, and it is not draining: one that was not heard
// counts as full. A request may want a failure domain by its label, domains other
// than those of given procs of its realm ([Request.Apart], which holds in both
// directions), or one domain per proc of a group ([Request.Group]). A node without
// a label is a domain of its own.
//
// What fits no node now waits, in order of arrival. Whenever a node has room, the
// oldest that fits there goes. So nothing ever waits that would fit, and small
// requests pass large ones by. That is bounded: a request that has seen
// [Config.Bypass] placements go by gets, oldest first, a claim on the node where it
// lacks least. A claimed node takes nothing else, so that what it lacks shrinks with
// every proc that ends there; the claim moves when another node comes to lack less.
// At most one node in eight, and at least one, is claimed at a time. A request is
// refused at once only if it asks for more than any node has in all, or for a domain
// that there is not, and all nodes have been heard.
//
// # Who is right
//
// A schedd is: it may refuse ([Table.Refused]), and its reports replace what the
// table believes about it, except for decisions that were still on their way to
// it (sequence numbers tell: [Report.Seen]). A refusal puts the request back in its
// old place and sets the node aside until its next report; where refusals follow
// each other, for twice as many reports each time.
//
// Reservations end with what the machine shows: Release and the next report say the
// same, so that a lost message costs a report's interval and leaks nothing. With a
// node everything on it goes.
//
// # Epochs
//
// One lcsched follows another under a higher epoch (from etcd). A new one knows
// nothing but the nodes; it says Hello to each, and the node from then on refuses
// decisions of earlier epochs ([Fence]) before it makes its first report, so that
// no decision of the earlier lcsched can come after the report. The first
// placement on a node therefore sees all that holds on it. A table that hears of a
// higher epoch is deposed and decides nothing more.
//
// # What it does not do
//
// The table never gives an id to two nodes: one that it has placed, and that was
// not explicitly refused, is never placed again, even when its node is lost. It
// knows that for this epoch only. An id that was sent to an earlier lcsched must
// not be sent to this one; its home reports it lost, and a new Spawn has a new id.
package lc
