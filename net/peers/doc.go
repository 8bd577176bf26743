// Package peers keeps one RPC link to every node that this one has something to
// say to, and serves the links of others.
//
// # The model
//
// A link is a TLS connection to the service "sigma-rpc/1" of another node's port
// (net/port) with a net/rpc client on it. [Peers.Link] returns the one to a
// node, by its number. The first who asks has it dialled; after that it is kept:
// a link that breaks is dialled again, at once and then with growing pauses,
// for as long as the [Directory] knows where the node is. Calls go one way: the
// node that dialled calls, the other one serves.
//
// Incoming links are served by an rpc.Server, whose handlers find in
// Request.Peer the [pki.Peer] that the certificate says.
//
// # Life and death
//
// Both ends of a link want to hear something every half second (Heartbeat) and
// take it for dead after 3 s (Silence). That is a faster and surer word than
// gossip's: what was under way on a link ends with it, whatever gossip thinks,
// and gossip's opinion that a node failed ends no link that still answers. A
// node that has left loses its links in both directions. A node whose machine
// refuses connections has no sigmad: Refuses is told after three of them, and so
// much sooner than by silence.
//
// # Errors
//
// That there is no link is an error of kind Unavailable which names the node,
// where it was looked for, and what happened there. While a node cannot be
// reached the error comes at once, not after another time-out; only the first
// caller, and those who come while an attempt is under way, wait for it.
package peers
