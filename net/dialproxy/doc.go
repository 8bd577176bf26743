// Package dialproxy makes the connections of procs: the paper's dialproxyd
// (§4.2). A proc cannot make a socket; it asks, and gets one that is connected.
//
// # The model
//
// An endpoint belongs to a proc and is known by its token alone. [Proxy.Dial]
// finds it, checks that it is of the caller's realm, and gives both sides a
// descriptor of one connection. Between procs of one node that is a socketpair;
// between nodes it is the TCP connection itself: the dialling node sends one
// setup message (setup.go, docs/ENDPOINTS.md), reads one answer, and hands its
// socket over; the other node does the same. Not one byte more than the setup is
// read, so nothing of the payload passes through sigmad, then or later, and a
// connection goes on when both sigmads have stopped.
//
// Connections wait in a bounded backlog until the listener accepts them, as with
// listen(2).
//
// # What is refused, and how
//
// A token of another realm, a closed one, a forged one and one that never was
// give one error, at one moment: refuseAfter from the call. Everything that a
// realm can make grow is bounded for that realm (limits.go), so that another
// does not notice.
//
// # Who speaks for whom
//
// The setup message is signed with a key that the receiving node gave the
// dialling one over their mTLS link, for one boot of both. A counter with a window
// refuses replays; nothing depends on a clock.
package dialproxy
