// Package export serves a realm's name space, as a [view.FS], to clients of plain
// 9P2000.L: the Linux kernel, diod's tools, any library. Such a client has neither
// TLS nor a token file; so there are two ways.
//
// [Local] is for one user on the user's own machine: it has the realm's token, or
// is the operator, and speaks TLS with the gateway. It listens on a Unix socket or
// a loopback address, and asks the kernel whose each connection is: the same
// user's and root's are served, others are closed.
//
// [Listen] is the gateway of a node for machines in given address ranges. Who
// connects shows a realm's token as the name that it attaches to, TOKEN or
// TOKEN/PATH. The token and all data cross the network in clear; whoever lets a
// range in says that its network may see them. A connection acts as one user of
// one realm, and ends soon after its token is no good any more: its time is over,
// its key was replaced, its realm removed.
//
// Everything a stranger can do is bounded: connections in all and of one address,
// the time until a token was shown, how often and how fast tokens can be tried.
// Of those who are known, each realm has so many connections.
package export
