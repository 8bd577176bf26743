// Package ux serves scratch space: a directory of one node's local disk, cut
// into a private tree for each realm, as a [tree.FS].
//
// # On the disk
//
//	Dir/lock                       one server at a time
//	Dir/epoch                      versions below this one were given out
//	Dir/realms/REALM/tree/…        the files, under their own names
//	Dir/realms/REALM/tmp/          what is not yet in the tree; emptied at start
//	Dir/realms/REALM/fences        the latest term of each election that wrote here
//	Dir/trash/REALM.N/             removed realms on their way out
//
// Everything belongs to root with mode 0600 or 0700. A uid for each realm would
// add nothing: no proc runs under it, procs get no path to these files, and the
// one thing a proc may be handed, a descriptor for reading, it cannot open anew
// for writing (/proc/self/fd) unless the file's mode lets its own uid do so. Root
// with 0600 is the owner that no proc can ever be.
//
// There are only plain files and directories. Links, symbolic ones and endpoint
// links, are plain files with a mark: the kernel has nothing to follow, not even
// for an operator's tar or cp run over the directory, and a directory that is
// swapped for a link in the middle of a walk is a plain ENOTDIR. What a file
// means (type, owner, mode, id, version) is in one extended attribute, user.sigma,
// small enough for the inode; a file system without such attributes is refused
// by [Open]. Hard links, devices and FIFOs cannot be made, set-id bits are dropped;
// what somebody put there by hand is not shown.
//
// # Paths
//
// The kernel is given names of the realm's directory only, by openat2 with
// RESOLVE_BENEATH, NO_SYMLINKS, NO_MAGICLINKS and NO_XDEV, or single names
// relative to a descriptor so opened. A [tree.File] stands for the file itself,
// not for its path: it follows renames made through this server. Changes made
// behind the server's back are safe, but are not seen by watches and quotas.
//
// # Versions
//
// A realm has one counter; each start of it begins a new epoch (upper 24 bits),
// so that versions grow over restarts and crashes without a write for each. While a
// file is open for writing the attribute says so, and the version is written
// when the last writer closes; after a crash such a file gets a new version. An
// id is the version at which the file was made.
//
// # What survives
//
// Every change survives the end of sigmad, also by kill -9: Put and Create make
// the file aside and rename it into place; an append by Put notes where it
// began, and is cut off there if it was not finished. The machine's end by power
// loss is survived by what was Synced: nothing else is flushed, because scratch is
// for data that can be made again.
//
// # Room
//
// A realm has a quota in bytes and in inodes. A file counts with its size
// rounded up to 4 KiB, holes included, so no sparse file is larger than the quota. It
// counts from before it is written until it is gone from the disk: unlinked, and no
// longer open in any handle or handed-out descriptor (which is noticed within
// seconds). Nothing is persisted; usage is counted when a realm is first used
// after a start. Over it is Busy; what could never fit is TooLarge. The disk's
// own end is Unavailable, for everybody, a little before it is quite full, so
// that its other users can go on; reading and removing always work.
//
// # Not here
//
// Leases are Unsupported: a file that goes with its proc belongs into named. A
// server can be published here by an endpoint link, which stays when it ends.
package ux
