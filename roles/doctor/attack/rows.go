package attack

import "slices"

// row is a line of the table. One without a check is tried elsewhere.
type row struct {
	id, title string
	check     func(*check)
	arch      string // where it means something; "" is everywhere
	elsewhere string // the test that has it
}

// rows in the order in which they are tried: what a proc finds first, storms
// last.
var rows = slices.Concat(callRows, fileRows, channelRows, runRows)

// plain is a row of which every attempt is refused.
func plain(id string, atLeast int, but answers) func(*check) {
	return func(c *check) { c.refused(c.row(id), atLeast, but) }
}
