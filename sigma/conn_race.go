//go:build race

package sigma

// The race detector learns from the standard library's calls that what was
// written happened before what is read; it does not see raw ones.
const rawAllowed = false
