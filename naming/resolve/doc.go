// Package resolve finds what a path of a realm means. It is pure: servers,
// connections and time come in, and one algorithm serves the tenants' library, the
// mount and the gateway.
//
// # Paths
//
// A path is absolute and UTF-8. [Clean] takes "//", "." and ".." out of it, by
// its text alone, so that dots never lead out of the realm; a slash at the end
// says that a directory is meant.
//
// # Servers and links
//
// Resolution begins at the realm's root, named. An operation is tried with all
// the names that are left; a server does it, or stops at a link on the way and says
// where. A symbolic link is put into the path in its place (relative ones from
// the directory that holds them). An endpoint link is walked through: the server
// behind it is dialled, and goes on with the rest. So a path without links costs
// one round trip, and each link one more. 32 links in one path are a loop.
//
// # Unions
//
// Where a directory has endpoint links of several servers, the name ~local means
// the one on the caller's node, and ~any one that answers: the local one if there
// is one, else by chance, a dead one skipped. Both are names for what is there: they
// can be neither made nor removed, stand for whole names alone ("~LOCAL" is a name
// like others), and may come more than once in a path, each below the server that the
// one before it led to. "~local/.." is taken out as text, like every "name/..". In
// a symbolic link's target they mean the node of who follows it.
//
// As the last name they are where a server begins: an operation on an entry (make,
// remove, rename) is given no names there, and refuses. What dials a link (Ends) is given
// the links that they may stand for, whose servers need not serve files.
//
// # Hostile servers
//
// Tenants serve parts of their realm, so answers are checked: where a link is said
// to be, its type and target, the names in a union. Whatever is asked on the way
// has a deadline of its own, and the number of questions is bounded by that of links
// and, in a union, by 16 servers. Only the operation itself lasts as long as its
// caller's ctx.
package resolve
