// Package port is a node's one TCP port: everything that nodes say to each
// other over TCP comes in here, and everything they dial goes to one.
//
// # The model
//
// The first byte of a connection says what it is: 0x16, a TLS handshake; 0xCF,
// the setup of a connection between procs. Anything else is closed.
//
// TLS connections are between nodes: both show certificates ([pki.Identity]),
// and ALPN names the service ("sigma-rpc/1", "sigma-gossip/1", …). A service
// registers with [Port.Handle], or with [Port.Listener] where a library wants a
// net.Listener. A handler is called with a [Conn] that knows its [pki.Peer];
// nothing a peer writes reaches a handler before the peer is known. The side
// that was dialled begins with one byte, so that [Port.Dial] returns when the
// other side has let us in and not before. The one service for which nobody has
// to show a certificate is "sigma-join/1" ([Port.ServeJoin], [Join]).
//
// A setup connection is given to its handler ([Port.HandleSetup]) as the
// *net.TCPConn it is, with the first byte read and not one more: the descriptor
// goes to a proc in the end, and a byte that was read ahead would be lost.
//
// # Strangers
//
// Who is not known yet gets little: 5 seconds from accept to the end of the
// handshake, and a place among 512 in all and 64 from one address (IPv6: from
// one /64). When the places are taken, the oldest stranger loses his: so
// connections that stay silent make room for those that go on, and a flood has
// to be faster than a handshake to keep nodes out. Out of descriptors, the port
// closes what comes in, by means of one it keeps for that, and takes
// connections again as soon as there are some. A socket that somebody else ended
// is replaced ([sigmaos/internal/lasting]); a node that gets none for 10 seconds
// is told ([Config].Lost).
//
// # Who owns what
//
// A handler owns its Conn and closes it. [Port.Close] stops accepting, ends
// every connection that came in and is still open, ends the handlers' ctx, and
// returns when all handlers have. Dialled connections belong to who dialled.
// docs/CLUSTER.md has the bytes.
package port
