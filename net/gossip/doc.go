// Package gossip knows which nodes of the cluster are alive, and tells the
// others that this one is. It is built on memberlist and alone imports it.
//
// # The model
//
// Every node probes others in turn and passes on what it hears, so that all
// nodes agree soon on who is there; none of them is special. A [Member] is a
// node as the others last heard of it: name, number, boot, address, and an
// [Info] that it may change while it runs ([Gossip.Update]), of at most 512
// bytes encoded.
//
// A node that dies is noticed by all within [Config.Notice] (3 s) on a network
// that works: Failed. A node that ends says so first ([Gossip.Leave]): Left.
// Both may be wrong for a while (a node that was silent for too long comes
// back, a goodbye is lost and the node counts as failed), so nothing that must
// not happen twice may follow from gossip alone. After a partition the halves
// find each other again: who failed, and the seeds, are looked for ever after.
//
// # Events
//
// [Gossip.Subscribe] tells of changes in the order in which this node learned of
// them, beginning with a Joined for every member there is. A subscriber sees
// the states of each member in order, the last one always; of several changes
// that come faster than it takes them it may see the last alone, so that a slow
// one costs nobody memory. A node that was restarted is one that Failed (or
// Left) and another that Joined: they differ in Boot.
//
// # One name, one node
//
// A name and a number belong to one node. If a second one appears under either
// while the first is alive, the first stays who it is, the second is not taken
// in, and there is a Conflict event (on both sides) and a line in the log. When
// the first is dead, its name may come back from another address.
//
// # On the wire
//
// Packets are UDP on the number of the node's TCP port, encrypted with a key
// derived from the cluster's secret; [Gossip.SetSecrets] replaces secrets step
// by step. Streams go through net/port and are TLS between nodes. Packets are
// not bound to a node: whoever has the secret can say anything about anybody.
// That is every node of the cluster, and no one else.
package gossip
