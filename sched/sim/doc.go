// Package sim runs the scheduling policy of a whole cluster on simulated time: the
// real code of sched/be, lc, node, pull and elect, driven by a discrete-event
// simulator with thousands of nodes and millions of procs. It is seeded: one Config
// gives one history, whatever the machine.
//
// # What is simulated
//
// Everything that the policy does not do itself: messages that take time, get lost
// or doubled; a gossip that tells every node of a death or a birth at another
// moment; a kernel that shares a machine equally between the realms on it; procs
// that compute, sleep and end; homes that wait for their procs; machines that die and
// come back; an etcd that hands out epochs.
//
// A home asks after a proc when it learns that a message about it was lost, or that
// whoever had it is dead. Whoever is asked after a proc that it does not know will
// not start it later. So every wait ends, and it ends once.
//
// # What is checked
//
// At every step: no proc is started twice; no node holds more reservations, or more
// memory, than it has; nobody waits for more than five seconds for what cannot come.
// At the end, when no more procs are spawned and no machine dies: spawned = exited +
// errored, every table is empty, and nothing is reserved. What does not hold is in
// [Report.Violations].
//
// # What is measured
//
// Fairness: how far the CPU of a realm is from an equal part, while several have
// procs waiting. Utilization. Time from the Spawn to the first instruction. And what
// the policy itself costs, in CPU time of the machine that runs the simulation, per
// proc placed.
package sim
