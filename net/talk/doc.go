// Package talk keeps conversations between nodes: messages that arrive in order
// and at most once, until the conversation ends; and when it ends, both sides
// know it and begin anew.
//
// # The model
//
// This node has one conversation at a time with every other one. [Talk.Send]
// appends a message to it and returns; what arrives is given to [Config.Receive].
// Between two nodes there is one call under way in each direction (over the links
// of net/peers); what is sent meanwhile goes with the next call. So messages batch
// under load and do not wait when there is none.
//
// A call that fails is made again with the same messages. They are numbered, and
// the receiver skips what it has had: a call that comes twice, late, or after
// another one does nothing.
//
// # Sessions
//
// A conversation is a row of sessions. Each side numbers its own, and a session is
// the pair of numbers; both go with every call. A number holds the boot of its
// node, so that a node that was restarted is another one. A side ends its session
//
//   - when six ticks have passed without an answer from the other one. Ticks are
//     counted and come every half second; a process that was stopped for a minute
//     has missed one tick, finds that the others have given it up, and learns it
//     with the next call;
//   - when the other side has begun a new one.
//
// A side that has ended its session takes nothing of that session any more and
// answers with its new number, whereupon the other side ends its own. So a session
// that one side gave up is over for the other one too, as soon as they reach each
// other.
//
// [Config.Over] is told of each end, and of the messages that the other side has
// not acknowledged: some of those may have arrived. Nothing is carried over. What
// depended on the session is lost with it; that is for the caller to do.
//
// # Order
//
// Receive and Over of one node come one after the other, and Over of a session
// comes before anything of the next one. A message that is sent while an end is
// being told belongs to the next session already.
package talk
