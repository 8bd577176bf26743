// Package named keeps what a cluster must not forget, on etcd: the realms'
// records, the numbers of nodes and boots, and the root of every realm's name
// space. docs/NAMED.md is the page about the name space.
//
// # The peer
//
// A node with the named role may host an etcd peer inside its own process. Client
// and peer traffic go over Unix sockets in the run directory that only root can
// open, so no proc and no other machine reaches them; a [Mesh] connects the peers
// of several nodes. Keys begin with /sigma/v1/ and hold realm ids, never names.
//
// # The name space
//
// [Trees] serves trees of directories, small files and links, one for each
// realm. One node leads a realm at a time: it made the realm's key "leader" in
// etcd, under its lease, and the key's create revision is the epoch of its
// term. The leader has the whole tree in memory.
//
// A write goes through one goroutine, the committer. It runs changes against a
// [stage] over the committed state, sends what differs as one etcd transaction,
// and publishes it to readers once it is committed. Changes that arrive while
// etcd is busy share the next transaction. Each transaction compares the epoch,
// and the revision of the log key which the one before it wrote; so it happens
// once or never, however often it is sent, and never after another node led.
//
// A read comes from memory and is answered only if, after the memory was read,
// the lease had not run out. Memory holds what is committed and nothing else, so
// reads are linearizable.
//
// The log key holds the last transaction's events. etcd's history of that key
// is where a new leader reads the past, so that watches resume.
//
// # What the caller of this package does
//
// It asks [Trees.Tree] for a realm. It gets the tree, or a [NotLeader] with the
// name of the node to ask, or Unavailable, after which it tries again. It tells
// [Trees.ProcEnded] of procs that ended and [Trees.DropRealm] of realms that are
// to go. Everything that came out of a tree fails with Unavailable when the term
// ends ([Tree.Ended] says when); whoever holds it asks for the tree again and walks
// anew.
package named
