// Package trial measures how many procs a shard of the best-effort queue, and
// lcsched, place in a second. It is what `sigmactl bench place` runs.
//
// # The model
//
// There are three processes, each a node as a placement sees it:
//
//	home   takes the Spawns, of callers in the same process
//	shard  is the one shard of the queue, and lcsched
//	node   takes the procs
//
// Home starts the other two, makes a CA and an identity for each, and tells all
// where all are. From then on they speak as nodes do: net/port with both sides'
// certificates, net/peers, net/rpc, net/talk, roles/place. Home and node have a
// whole schedd ([schedd.Schedd]) with its log store; home has the event log, too. Each
// has half of the cores for its threads, as sigmad has, and home one more for its
// callers, which would be other processes.
//
// # What is counted
//
// A caller calls Schedd.Spawn, as the goroutine of a control channel does, and then
// Schedd.WaitExit. The node's schedd takes the proc as it takes any, makes its
// record, tells the home, and asks for a σcontainer. Here that is a [doorstep]: it
// counts and says no, so that the proc ends there and then as refused, which is told
// like any end. A placement counts when WaitExit has returned that at its caller.
//
// # What is not part of it
//
//   - a frame of the caller's control channel, and its decoding;
//   - everything from the σcontainer on: no program runs;
//   - gossip and etcd: the members are given and stay, and so is lcsched's epoch;
//   - the machine's size: the node claims CPU and memory for all that may be under
//     way, so that what is measured is the placing and not the waiting for room.
package trial
