// Package img scales many images of a realm at once: a proc for each, so that an
// image made to break its decoder breaks one proc, which has nothing but that
// image.
//
// The program (apps/img) brings the decoding, as a Func; this package brings the
// procs. They are
//
//   - three coordinators (LC) for a directory of images, of which one leads
//     (sigma/job). It keeps what it knows in /img/JOB, behind its term's fence, so
//     that another goes on where it stopped. They are registered with initd, so
//     that a job goes on after the whole system was down;
//   - or a service (LC), published in the name space, to which clients give an
//     image at a time by RPC (Dial);
//   - a worker (BE) for each image.
//
// # What is promised
//
// Each image has one result, which the queue (sigma/tasks) keeps: it was scaled, or
// it cannot be, and why. A result file is written in one step: it is whole or not
// there, and the same whoever wrote it.
//
// An image that cannot be decoded, or whose decoding would not fit into a worker's
// memory, is refused by name at its first attempt, before memory is taken for it. A
// worker that is killed, runs out of memory, fails or takes longer than the time
// limit is started again, Tries times in all. What is the system's fault (a lost
// node, an evicted proc, a service that does not answer) is not counted. None of
// that keeps the other images from being done.
package img
