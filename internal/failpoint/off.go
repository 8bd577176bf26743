//go:build !failpoint

// Package failpoint ends the process at named steps of a protocol, for tests
// of what is left then. It does nothing unless built with -tags failpoint; a
// release has not even the name of its variable in it.
package failpoint

// Hit is a step at which a test may end the process.
func Hit(string) {}
