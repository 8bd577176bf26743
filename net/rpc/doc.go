// Package rpc is a small framed RPC over one connection: for procs that want no
// gRPC, and for nodes among each other. It imports the standard library and api
// only, because every proc links it.
//
// # The model
//
// One side of a connection is the caller ([Client]), the other one serves
// ([Server]). A call has a method, a request and one answer; a [Stream] has
// messages in both directions until the handler returns. Requests and messages
// are bytes; what they mean is for caller and handler to say. Who the caller is,
// is not for a message to say: a transport that knows it gives it to
// [Server.ServeConn] as peer, and handlers find it there.
//
// # What is promised
//
// A handler runs at most once for a call, and every call ends with exactly one
// result. An error is an *api.Error and arrives with its kind, operation,
// subject and text; one of another type arrives as Internal. The time that a
// caller's ctx has left travels with the call (as a duration, so that no two
// clocks are compared), and so does its end: the handler's ctx ends, and the
// caller has Deadline or Canceled without waiting for the handler. When the
// connection is lost, everybody who waits gets Unavailable; whether the handler
// ran is then not known. A handler that panics costs its own call an Internal
// error and nobody else anything.
//
// Calls overlap, and answers come in any order. Messages of one stream stay in
// order; between streams and calls there is no order.
//
// # Bounds
//
// Everything that the other side can make grow is bounded ([Options]): the
// length of a frame, the calls under way, the bytes of their requests, the
// messages of a stream that nobody has read, and what waits to be written.
// A slow reader of a stream stops its own sender and nobody else: the reading
// goroutine never waits for a reader. A side that breaks a rule of the format
// loses the connection. docs/RPC.md has the format byte by byte.
//
// # Speed
//
// Frames that are queued while another write is under way go out in one write,
// and a frame that finds nothing under way goes out at once. Methods that never
// block can be served in the reading goroutine ([Server.HandleInline]), and
// calls can be made without a goroutine each ([Client.Go]); between the two, a
// call costs no goroutine switch of its own.
package rpc
