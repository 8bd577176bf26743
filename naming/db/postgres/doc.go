// Package postgres is the database of a realm on a real PostgreSQL: as a
// [db.Backend] for the session file, and as a connection that speaks PostgreSQL's
// own protocol.
//
// # A realm's own
//
// An operator names a server and a user who may make roles and databases. At a
// realm's first use a role and a database are made for it (both "sigma_" and the
// realm's id), the role with a password that sigmad chooses and keeps; it is no
// superuser, owns its database, and may connect to no other of σOS's. Everything
// that a realm does is done as that role.
//
// # The protocol
//
// [Server.Serve] takes a connection from a proc, reads its first message, and
// connects with the server as the realm's role, whatever user, password and
// database the message names. When the server has let it in, the proc is told so,
// with the server's own parameters, and from then on bytes pass in both directions,
// unread. So everything that PostgreSQL can do works: prepared statements, COPY,
// LISTEN, pipelines. A cancellation is passed on for connections of the same realm.
package postgres
