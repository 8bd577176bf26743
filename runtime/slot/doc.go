// Package slot keeps σcontainers ready and starts procs in them.
//
// # The model
//
// A [Slot] is a σcontainer prepared ahead of time for one realm and class: PID,
// IPC, UTS, mount and cgroup namespaces, a read-only jail, a cgroup and a uid of
// its own, no capabilities, no_new_privs, Landlock or AppArmor or both, and the
// system-call filter, all around a PID 1 of a few kilobytes (init/init.c). A
// child of PID 1 waits in recvmsg with every layer already on. [Slot.Start] is
// one message to that child: number, limits, argv, environment, and the proc's
// descriptor 3. It opens the program in /mnt/binfs and execs. Nothing that takes a
// kernel-global lock, compiles a filter or makes a namespace is on that path.
//
// When the proc ends, PID 1 ends whatever is left in the namespace, reports the
// status and forks the next child; the slot can serve again at once, for the same
// realm and class only. A slot whose PID 1 dies, whose set-up or limits fail, or
// whose denied calls were too many is thrown away.
//
// # Who owns what
//
// sigmad's end of the control socket is the life of a slot: when it closes, by
// [Slot.Close] or because sigmad died in any way, PID 1 ends and the kernel kills
// everything in its namespace. A [Pool] owns slots; [Pool.Get] lends one,
// [Pool.Put] takes it back.
package slot

//go:generate sh init/build.sh
