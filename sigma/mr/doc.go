// Package mr is MapReduce over the files of a realm.
//
// A job's program is one static binary: its functions, and Main.
//
//	func main() { mr.Main(mr.App{Name: "wc", New: newWC}) }
//
//	func newWC(args []string) (mr.Job, error) {
//		return mr.Job{Map: words, Combine: add, Reduce: total}, nil
//	}
//
// The same binary runs as three kinds of proc. Three coordinators (LC) stand for
// election; the one that leads keeps everything that it knows in /mr/JOB, behind
// its term's fence, so that another goes on where it stopped. It cuts the input
// into splits and starts a mapper (BE) for each, then a reducer (BE) for each bin,
// and moves what they made to its place. Coordinators are registered with initd,
// so that a job goes on after the whole system was down.
//
// # What is promised
//
// Each task's result is committed once, whoever ran it and however often: an
// attempt writes files of its own name, the queue (sigma/tasks) keeps the first
// result, and only files that a committed result names are read. The output is
// that of one sequential run, byte for byte, where the functions depend on their
// input alone.
//
// An attempt that fails is tried again, a slow one is run a second time beside the
// first, and one that hangs is ended after the job's time limit. A function that
// returns an error or panics is tried Tries times; then the job has failed, and
// says which split and which record. What is the system's fault (a lost node, an
// evicted proc, a service that does not answer) is not counted.
//
// When a finished map's files are gone with their node, that map runs again.
//
// # Records
//
// Map is given lines. A line over MaxRecord comes in pieces that end behind a white
// space, so that no word is cut (but one that is itself longer than MaxRecord);
// splits begin and end in the same way. No part of a proc grows with its input: a
// mapper sorts and writes what it holds when its table is full, a reducer merges
// from files, in several passes where there are many.
package mr
