// Package s3 serves a realm's buckets in an object store as a [tree.FS]: any
// store that speaks S3's protocol, through the AWS SDK.
//
// # The model
//
// The root's entries are the realm's buckets. In a bucket a slash in a key makes
// directories: key "a/b" is file b in directory a. A directory is there when any
// key begins with its name and a slash, or when somebody made it: then an empty
// object "a/" marks it, as other tools do. Where a key is both a file and a
// directory, the directory is what is seen. Keys that the name space cannot
// show (an empty step as in "a//b", "..", names over 255 bytes or not UTF-8) are
// not listed and not reached.
//
// An object has no owner and no mode: everybody in the realm may read and write.
// There are no links, versions that grow, watches or leases.
//
// # Writing
//
// An object is written from its beginning to its end, and seen by others when
// its handle is closed (or synced) without an error, whole or not at all; until
// then they see what was there before. A connection that breaks leaves nothing.
// Parts go to the store while the writer writes. What S3 cannot do is Unsupported,
// with what to do instead: writing in the middle, appending, renaming.
//
// # Whose buckets
//
// Which store a realm has, and with which key, [Config.Store] says for each use,
// so that a new key takes effect at once. A realm may have a prefix: its bucket
// "data" is then "PREFIXdata" in the store, and no other bucket exists for it. That
// is how realms share the store that a cluster brings. Procs see no key, no
// endpoint and no prefix.
//
// # When a store fails
//
// Every request has a deadline, is tried up to three times, and errors become
// Unavailable, Denied, NotFound. Each realm has its own connections and its own
// bounds on requests, open streams and unsent bytes: what waits for a store that
// hangs is that realm's.
package s3
