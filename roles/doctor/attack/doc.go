// Package attack tries the rows of hostile procs on a running cluster: it is
// `sigmactl doctor --attack`, and what the tests of the same rows run.
//
// # The model
//
// The attacker is one static program of raw system calls without a libc (probe/),
// embedded here, that runs as a proc in a realm made for it. Each row of the table
// (rows.go) runs it once or a few times; it prints a line of JSON for every attempt
// and what came of it, and the row's check says which answers hold. Rows about the
// channel, endpoints and names hand it frames that this package wrote: what a proc
// may send is bytes, and nothing in the probe knows what they mean.
//
// Outside wait the canaries: a file on the host that every uid may write, a second
// realm with a program, an endpoint and a name of its own, and a proc in each of
// the two realms. After the last row they must be as they were.
//
// # What it does not promise
//
// A row that holds was tried the way the table tries it, on the node that ran the
// procs, now. Rows that need several nodes, a race or an attacker outside are
// not here; the table names the test that has them.
package attack

//go:generate sh probe/build.sh
