// Package job is what jobs of many procs have in common: one of three coordinators
// leads, all that it knows is in the realm, and another goes on where it stopped.
// sigma/mr and sigma/img are kinds of jobs.
//
// A job is a directory, /KIND/NAME:
//
//	spec     what is to be done; written once
//	state    how far it is, by who leads
//	leader   the election
//	coords/  an entry for each coordinator, which goes with it
//	plan     says that all tasks are submitted
//
// and what its kind adds, queues of tasks for instance ([sigma/tasks]).
//
// # Who leads
//
// Coordinators are LC procs of the job's own program, on different nodes where
// there are enough. Everything that the leader writes is behind its term's fence.
// It starts others where there are fewer than three, initd starts them when the
// whole system comes back, and whoever waits for the job when all of them are gone.
//
// # How a job ends
//
// A kind gives [Work]: Do is the job, from wherever it is. When that returns without
// an error, or with a [Failure], how the job ends is decided and written down, as
// the phase Ending, before anything is removed; from then on a new leader only
// cleans up. Any other error ends the term; after ten terms of one coordinator
// without anything done in between, it is the job's.
//
// A proc that works for a job calls [Watch], so that it ends when its job is over or
// was removed.
package job
