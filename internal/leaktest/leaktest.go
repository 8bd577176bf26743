// Package leaktest finds goroutines that tests have left running. It is goleak, but
// gives those that end by themselves the time that a busy machine takes: goleak alone
// looks for less than half a second.
package leaktest

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end after a test.
const patience = 20 * time.Second

// Main is a package's TestMain: when the tests have passed, no goroutine may be left.
func Main(m *testing.M) { goleak.VerifyTestMain(patient{m}) }

type patient struct{ m *testing.M }

func (p patient) Run() int {
	code := p.m.Run()
	if code == 0 {
		Find()
	}
	return code
}

// None fails t where goroutines are left that are not among what options allow.
func None(t testing.TB, options ...goleak.Option) {
	t.Helper()
	if err := Find(options...); err != nil {
		t.Error(err)
	}
}

// Find says which goroutines do not end.
func Find(options ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		err := goleak.Find(options...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
