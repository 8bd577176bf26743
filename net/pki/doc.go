// Package pki is how the nodes of a cluster recognise each other: keys,
// certificates, whom to trust, and the token that admits a new node.
//
// # The model
//
// A cluster has one [Authority] at a time, its CA, made when the cluster is
// made. The CA's certificate names the cluster (sigma://CLUSTER); the
// certificate of a node names the cluster, the node and the node's number
// (sigma://CLUSTER/node/NAME, sigma://CLUSTER/number/N, and NAME.node.sigma for
// tools that want a host name). What a connection says of the other side is a
// [Peer], read from the verified certificate and from nothing else.
//
// [Identity] is a node's side of that: its key, its certificate and its [Trust],
// in a directory of its own. TLS configurations made from an Identity look at
// the key, the certificate and the trust of the moment, for every handshake.
// Connections that stand are not touched by a change.
//
// # Rotation
//
// Trust is a set of CAs. To replace a CA: the new one is added to the trust of
// every node; then the nodes get certificates from it; then the old one is
// dropped from every node's trust. At no step do two nodes refuse each other,
// whatever the order in which they take it. Keys of nodes are replaced by
// [Identity.Rekey] and [Identity.Install].
//
// # Clocks
//
// Clocks of machines may be an hour apart. Certificates are good from a day
// before they were made, and are accepted until an hour after they ended. They
// last a year and want renewal after two thirds of that ([Identity.RenewAt]).
//
// # Tokens
//
// A [Token] admits a node: the fingerprint of the CA, so that the new node knows
// whom it talks to, and a secret, so that the cluster knows who asks. The secret
// never crosses the network ([Token.Prove]). No error, log line or format verb
// shows a token; [Token.Text] does.
//
// # Formats
//
// Everything that is kept or sent is a line that says what it is and its
// version ("sigma-trust 1"), and PEM blocks after that, which openssl reads too.
package pki
