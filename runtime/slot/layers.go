//go:build !unsafelayers

package slot

// In this build nothing can be left out, by whatever it is told; layers_unsafe.go
// has the other one.

// Unsafe reports a build in which layers can be left out.
const Unsafe = false

// Without reports whether slots are made without a layer.
func Without(string) bool { return false }

// initOf is PID 1's program.
func initOf() ([]byte, error) { return initProgram, nil }
