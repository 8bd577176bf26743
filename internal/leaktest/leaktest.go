// Package leaktest finds goroutines that tests have left running, and helps to count
// descriptors. For goroutines it is goleak, but gives those that end by themselves the
// time that a busy machine takes: goleak alone looks for less than half a second.
package leaktest

import (
	"os"
	"runtime"
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

// garbage tells when the collector has come to it.
type garbage struct{ gone chan struct{} }

// Settle is for who counts the process's descriptors next, to compare with a later
// count. It has closed what the tests before have left to the collector, at a time of its
// own, such as the pipes that io.Copy keeps for sockets; and Go's poller has the
// descriptors that it takes with the first socket of all. It does not belong before the
// later count: what the tested code itself has left to the collector is a leak.
func Settle() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	for range 3 { // a sync.Pool holds what it has for two rounds
		gone := make(chan struct{}, 2)
		runtime.SetFinalizer(&garbage{gone}, func(g *garbage) { g.gone <- struct{}{} })
		runtime.AddCleanup(&garbage{gone}, func(gone chan struct{}) { gone <- struct{}{} }, gone)
		runtime.GC()
		for range cap(gone) {
			select {
			case <-gone:
			case <-time.After(time.Second): // the collector need not come to it
			}
		}
	}
}
