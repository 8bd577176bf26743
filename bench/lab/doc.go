// Package lab makes the places in which benches run: networks that exist only
// for a while and only for the processes in them.
//
// A [Space] is a network namespace and one thread that is in it. It has no name
// anywhere: it is held by that thread and by the processes that were started in
// it, and when they have ended the kernel takes it away with everything that was
// configured, whatever became of the program that made it. Processes are started
// by that thread, which lasts as long as the Space, so that PDEATHSIG, which
// follows the thread that forked, means the end of the whole program.
//
// A [Pair] is two spaces joined by a veth pair, as two machines by a cable. It
// can get an overlay (VXLAN) beside the cable, and can make the way longer for a
// while (Delay): the kernel of a small machine has no netem, so the packets take
// a way through this program, which keeps each for some time.
//
// A Space can have a disk of its own, whose end it is, too, and one that can be
// slow ([Block]). A [Switch] joins any number of spaces and does to their packets
// what broken networks do.
//
// Making spaces needs root.
package lab
