// Package export serves a realm's name space, as a [view.FS], to clients of plain
// 9P2000.L: the Linux kernel, diod's tools, any library. Such a client has neither
// TLS nor a token of its own; so there are two ways.
//
// [Local] is for one user on the user's own machine: it has the realm's token, or
// is the operator, and speaks TLS with the gateway. It listens on a Unix socket or
// a loopback address, and asks the kernel whose each connection is: the same
// user's and root's are served, others are closed.
//
// [Listen] is a listener of a node for machines in given address ranges; no role
// of sigmad starts it yet. Who connects either shows a realm's token as the name
// that it attaches to (TOKEN or TOKEN/PATH), which then crosses the network in
// clear, or, where the operator has bound the listener to a realm and a user, acts
// as that user: the ranges are all the protection there is, as with an NFS export.
//
// Everything a stranger can do is bounded: connections in all, the time until a
// token was shown, how often and how fast tokens can be tried.
package export
