// Package sigma is what a tenant's program imports: the calls of the paper's
// Table 1, with contexts.
//
// In a proc, [Self] speaks on descriptor 3, which is the proc's identity.
// Outside, [Connect] reaches a cluster through the socket or context of
// whoever runs the program. Both give a [Client]; the package functions act on
// Self.
//
//	func main() {
//		ctx := context.Background()
//		sigma.Started(ctx)
//		id, err := sigma.Spawn(ctx, &sigma.Desc{Program: "/bin/hello"})
//		...
//		st, err := sigma.WaitExit(ctx, id)
//		sigma.Exited(sigma.Status{Message: st.String()})
//	}
//
// A cancelled context ends the wait, not what was waited for. The package
// imports the standard library and x/sys only, for every proc pays for its
// start-up.
package sigma
