// Package view makes one tree of a realm's name space: its root and whatever the
// servers behind endpoint links serve, for those who know nothing of links
// between servers: a FUSE mount, a client of plain 9P. A [FS] is a [tree.FS].
//
// # Links
//
// An endpoint link whose server serves files looks like the directory that is
// behind it. One whose server serves none, or a service outside, looks like a
// socket; so does a link whose server has not been reached yet and cannot be. Once
// a server has served files its link stays a directory for as long as it is
// there, and what is done below it while the server is dead fails: an I/O error,
// not a directory that became a socket. A link cannot be removed as a directory;
// whoever wants that removes it by its name (sigmactl rm).
//
// ~local and ~any, in a directory with endpoint links, look like symbolic links
// to the entry that they stand for at that moment. They are not listed. Other
// symbolic links are shown as they are; following them is the client's matter.
// No more than 32 endpoint links lead from the root to any place.
//
// # Files
//
// A [File] knows its parent and its name, and directories keep a fid at their
// server, the lately used ones; so they follow renames made by others. When a
// connection is lost, a File finds its server again (another node may lead the
// realm by now) and walks to its place anew; there it must find the file with its
// number, else the error is TooOld, which Linux calls ESTALE. A [Handle] opens its
// file again in the same way. Operations that may have been done are tried again
// only if a second time changes nothing.
//
// Numbers of files are unique in a View: each server's are mixed with the number
// of the link that leads there, and are the same at the next mount.
//
// # Time
//
// A call ends with its context. Reaching a server behind a link takes at most
// [Config.Patience], and a server that could not be reached is not asked again for
// a second; one that serves no files, for [Config.Quiet].
package view
