// Package binfs gives slots their programs: one FUSE mount a node, one folder
// a realm in it, files named by the digest of their content.
//
// The mount is served by a process of its own ([Main], started by [Start])
// in a mount namespace of its own. sigmad never sees the mount, so it cannot hang
// on it; the serving process never execs, so it cannot wait for a page that
// only it could give (golang/go#11155). Slots join that namespace when they are
// built and keep a bind of their realm's folder.
//
// Content is verified by chunk against the digest before the kernel sees it.
// OPEN is answered ENOSYS and entries, attributes and pages are kept, so that a
// warm start asks the server nothing.
package binfs
