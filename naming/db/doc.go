// Package db serves a realm's database as files: a [tree.FS] with one file that is
// a session, and, where the database is a PostgreSQL, an endpoint link to dial it.
//
// # The session
//
// Each open handle of the file "session" is a connection with the database of its
// own, with its transactions and temporary tables, for as long as it is open. What
// is written to it is a query; the first read runs it and gives its rows, one JSON
// object a line, with the columns in their order. The end of the rows is the end of
// the file; then the next query may be written. A statement without rows gives
// {"affected":N}. Offsets only grow: rows begin where the query ended, the next
// query where the reader stands. That is what a program gets that writes and reads
// one file; writing gives up what was not read.
//
// A query may be SQL, or a JSON object {"sql":…, "args":[…]} whose arguments the
// database puts in place of ?1 (SQLite) or $1 (PostgreSQL).
//
// An error of the query is the error of the read. Its text is the database's.
//
// # Bounds
//
// Rows, bytes and time of a query, its own length, and sessions of a realm are
// bounded; beyond them the read that would go on is TooLarge, Deadline, Busy.
//
// # Behind it
//
// A [Backend] is naming/db/sqlite, which runs in a process for each realm, or
// naming/db/postgres.
package db
