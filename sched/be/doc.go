// Package be is the queue of one shard for best-effort procs. It is policy
// only: no clock, no socket, no goroutine, no lock; besched owns a Queue and
// guards it.
//
// # What it promises
//
// Each realm has a queue of its own with bounds on procs and bytes. Realms are
// served in turn: while two realms both have something that fits what is
// offered, neither is served twice without the other being served in between. A
// realm that has nothing fitting keeps its place in the turn but gathers no
// credit.
//
// Within a realm the oldest proc that fits goes first. Only the first [Window]
// procs of a realm are looked at, so that a Pop that finds nothing costs at
// most that much per realm, and usually one comparison (see realm.floor): a
// realm whose oldest 64 procs all need more than any node offers waits until
// one of them fits.
//
// Procs of a realm that came in the same moment ([Item.Came]) tie: among them
// one whose program the node has cached goes first. Nothing else is ever
// passed over for a cache, so the tie-break delays a proc by those at most that
// came with it. Before that counts where a proc had better run ([Item.Near]): of
// those that tie, the node gets those first that name it.
//
// # At a distance
//
// A node asks over the network, so one Offer may be answered with several procs
// ([Queue.PopN]), exactly those that as many Pops would have given. A proc that
// the node did not start after all goes back in front of its realm
// ([Queue.PushFront]); its realm does not get its turn back, or a realm whose
// procs always come back would keep the others out. [Queue.Hint] says whether
// asking is worth the way.
//
// A proc that was popped is the node's. The queue never gives it to another one
// by itself: whether a node that fell silent has started it, nobody knows.
package be
