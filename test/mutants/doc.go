// Package mutants plants defects in the system, one at a time, and has the test run
// that is there to find it: a test that passes with its defect is none.
//
// A [Mutant] replaces one piece of one file. It is put below the compiler by an
// overlay (go build -overlay), so that the tree itself never has a defect. That
// each piece is still there, and each test, is checked with every go test; the
// defects themselves are tried by make test-mutants.
package mutants

// Mutant is a defect and who must find it.
type Mutant struct {
	Name string // what is wrong with it
	File string // below the module's root
	Old  string // occurs once there
	New  string
	Test string // fails with it
	In   string // the test's package, below the root
	Flag string // for the test; "" is none
	// Nodes says that the test starts nodes, which must have the defect.
	Nodes bool
}
