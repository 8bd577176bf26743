// Package logs keeps what procs write to their standard output and error.
//
// # From pipe to file
//
// A slot has two pipes that live as long as the slot; procs run in it one after
// another. A [Pump] owns the read ends and copies what arrives into the [Log]
// of the proc that is attached. Detach, at the end of the proc, reads what is
// left, so that every byte goes to the proc that wrote it and the log is
// complete before the proc's end is reported. A proc that writes nothing costs
// four system calls and no file.
//
// # Files
//
// Each realm has a bounded set of segment files, DIR/REALM/N.seg, appended to
// in large writes and never synced: logs do not survive sigmad (nor do proc
// ids), and Open removes those of an earlier run. Procs share one sequence of
// segments, the realm's shared lane, as most write a line or two. A proc that
// writes much moves to a lane of its own. That is how a flood hurts only the
// flooder: a lane of one proc is bounded by Limits.ProcBytes, and its oldest
// segment goes first. All lanes together stay below Limits.RealmBytes; private
// lanes pay first while they take more than half of it. What a proc wrote
// before it moved stays in the shared lane, so a reader of a flood finds its
// beginning and its end, and in between a marker that says how much is missing.
//
// # Index
//
// Memory holds, per proc that wrote, a list of spans: what part of its output
// is in what segment, or gone. Spans carry cumulative counts of bytes and lines,
// which is how a reader that was overtaken knows exactly what it missed, and
// where the last N lines begin. Readers read files, never the writers' memory,
// so a slow one blocks nobody.
//
// # Locks
//
// In this order: Pump.mu, realm.io (held while files are written or removed),
// realm.mu (the index and the buffers; never held during file operations).
package logs
