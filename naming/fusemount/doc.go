// Package fusemount shows a realm's name space as a directory of this machine, so
// that ordinary programs work on it: [Run] mounts a [view.FS] by FUSE and serves
// it until it is unmounted. sigmactl mount runs it.
//
// # Who may
//
// The mount acts as one caller, that of the realm's connection; the servers
// decide what that one may. Everything is shown as the mounting user's, with the
// mode bits that the servers have, and the kernel keeps others out unless the
// mount was told otherwise. Changing an owner does nothing, on a name space whose
// owners are names.
//
// # What is cached
//
// Entries and attributes, for one second; that a name is not there, never. So
// what others did is seen within a second, and what was done through this mount,
// at once. Content is in the kernel's page cache and valid for one version of the
// file: an open asks the server, and drops pages and attributes of another
// version; between opens pages go when attributes that were asked for anew show
// another version. Where the server is on this machine and hands over the file's
// descriptor, the kernel reads that itself (FUSE passthrough): then there is no
// cache at all beside the disk's own.
//
// # Writes
//
// write(2) returns when the bytes are in this process; up to [window] pieces of
// one file are on their way at a time, small writes that follow each other are
// put together, and nothing waits longer than [idle]. Pieces that overlap stay in
// order. Whatever asks about the file (a read, stat, truncate, another open,
// rename) waits for them; close and fsync do and return what went wrong, as on
// NFS. Files opened to append, and files that somebody reads by passthrough, are
// written through: the server puts each append at the end, whole.
//
// # Time
//
// Every request of the kernel is answered within a bound, by an error when its
// server does not answer. A signal to the waiting program cuts that short after
// [grace]; not at once, as too many programs take EINTR from a file for a defect.
//
// # Symbolic links
//
// An absolute link of the realm is shown with the mount point in front, and a
// link that is made has the mount point taken off again: so a link that is copied
// within the mount is the same link. ".." in a link is taken out as text, as the
// realm does it, and never leads above the mount point: links of a hostile server
// lead nowhere on this machine.
//
// # Deadlocks
//
// The process never touches its own mount: the mount point is looked at before,
// by name only afterwards, and go-fuse's own check after mounting, which opens a
// file there, is not used. Nothing is executed while the mount stands, but
// fusermount3 to end it where the user is not root, by its absolute path.
package fusemount
