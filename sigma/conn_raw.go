//go:build !race

package sigma

const rawAllowed = true
