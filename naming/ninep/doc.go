// Package ninep puts a [tree.FS] on a connection and gives it back at the other
// end: 9P2000.L as Linux speaks it, and σOS's additions to it. docs/PROTOCOL.md
// has every message byte by byte.
//
// # Two dialects
//
// A client that asks for version "9P2000.L" (the Linux kernel, diod's tools, any
// library) gets the plain protocol: fids, walks, opens, reads. Errors are Linux
// errno numbers; owners are numbers made from names; symbolic links are followed
// by the client, endpoint links by [Options.Through] where there is one.
//
// A client that asks for "9P2000.L.sigma1" may use all that, and messages of
// type 128 and up: whole operations by path in one round trip (stat, get, put,
// create, open, remove, rename, list), each of which tells where it ended when
// it met a link; watches; leases; attaching with a fence; a descriptor in the
// place of reads. Errors carry kind, operation, subject and text. [Client] falls
// back to the plain dialect and then does what can be done with it.
//
// # Who asks
//
// [Serve] is given the caller that the transport knows. What Tattach says about
// users is not looked at, and Tauth is answered with "not needed".
//
// # Order
//
// Requests run at the same time, each in its goroutine, up to a bound. Requests
// on one fid keep the order in which they came where it matters: what opens,
// moves or ends a fid runs alone on it, after those that came before. A client
// may therefore send a walk, an open, a read and a clunk without waiting between
// them. A Tflush cancels a request; the request is answered first, with its
// result or an error of kind Canceled, then the flush.
//
// # Bounds
//
// Everything a peer can grow has a limit in [Options]: the size of a message,
// requests and their bytes under way, fids, open files, watches, events that wait
// for a watcher who does not read. A message that makes no sense is an error to
// its sender; one whose length makes no sense ends the connection, as there is
// no way to find the next.
package ninep
