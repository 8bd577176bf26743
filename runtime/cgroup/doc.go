// Package cgroup places processes in control groups, on cgroup v1, on v2 and on
// machines that mix the two.
//
// The tree of a machine is
//
//	<root>/sys/<node>                 sigmad and its helpers
//	<root>/lc/<node>/<realm>/<slot>   latency-critical procs
//	<root>/be/<node>/<realm>/<slot>   best-effort procs
//
// once per hierarchy, in the group that sigmad was started in (a Layout says where
// that is); v1's cpu controller has another form of it, below. Nodes on one machine
// share <root> and its three branches, because the idle class holds only among
// siblings: be of one root would compete as an equal with lc of another. So branches
// are made by whoever comes first and removed by whoever leaves last, and both must be
// safe against another node that does the opposite at that moment.
//
// <root> weighs as many CPUs as the machine has, beside what else the host runs.
// The weight at every level of lc is the mCPU below it. be is idle class as a
// whole; realms in it weigh the same, as do the slots of a realm. sys weighs one
// CPU beside lc, both as much more than be as the kernel lets them.
//
// To the kernel <root> is one competitor of the host's processes on each CPU: what
// best-effort procs use in it is held against latency-critical ones, which then wait
// for whatever else the host runs. Where the cpu controller has a hierarchy of its own
// (v1), the branch is therefore beside the root there, as <root>.be/be/<node>/…; the
// root weighs 16 times as much as <root>.be, and whether that is idle class too is for
// [Tree.Yield] to say. Beside the host's processes it then gives way to, or competes
// with, those that are in the group in which sigmad was started; which others it meets
// on equal terms is decided by the groups above. So the whole machine is meant only where
// sigmad was not started in a group of its own in that hierarchy, by a service manager or
// in a container. v2 has one hierarchy for all controllers, and a limit on <root> is to
// hold for everything in it: there the branch is below.
//
// Each level on the way to a proc costs it time whenever it sleeps or wakes up. Of the
// cpu controller nothing but weights is wanted, and they say the same without levels
// between: so where it is alone in its hierarchy, latency-critical slots stand side by
// side in the root, as <root>/lc.<node>.<realm>.<slot>, each with the weight of what it
// has reserved, beside sys, which weighs one CPU. What a proc leaves of its share goes to
// all others that have reserved, not to those of its realm first. Where cpuacct is
// mounted with cpu, what a realm uses is read there, and the slots are as deep as
// elsewhere.
//
// There, and only where the kernel wants it so, one more group is beside all roots for a
// while: sigma.rt, with threads that are of the real-time class just now (see [Realtime]).
//
// Before, all branches were below the root everywhere, as deep as in the other
// hierarchies. What nodes of that time left is found and removed like the rest. One
// that lives weighs more in the root than slots side by side do, and than the sys that a
// newer node sets: nodes below one root are to be of one version.
//
// A node's sys group is locked (flock on its directory) while the node lives.
// The kernel lets go of the lock when the node dies in whatever way, which
// tells a dead node's groups from a living one's.
package cgroup
