package treetest

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// together runs fn n times at once.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

func testExclusiveRace(e *env) {
	for round := range 10 {
		name := fmt.Sprint("lock", round)
		var mu sync.Mutex
		won := 0
		together(8, func(i int) {
			dir := []tree.File{e.alice, e.bob}[i%2]
			_, err := dir.Create(e.ctx, name, tree.NewFile{Mode: tree.ModeFile | 0o644, Exclusive: true})
			if err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else {
				e.is(err, "Create by one who lost", api.Exists)
			}
		})
		if won != 1 {
			e.Errorf("%d of 8 created %s, want 1", won, name)
		}
	}
}

func testCompareAndSetRace(e *env) {
	e.put(e.alice, "n", "0")
	const workers, each = 4, 15
	together(workers, func(int) {
		for done := 0; done < each; {
			f, err := e.alice.Walk(e.ctx, "n")
			if err == nil {
				err = increment(e, f)
			}
			switch {
			case err == nil:
				done++
			case api.KindOf(err) != api.Conflict:
				e.Errorf("increment: %v", err)
				return
			}
		}
	})
	e.has(e.walk(e.alice, "n"), fmt.Sprint(workers*each))
}

// increment reads version, then content: if the content is of a later version,
// the Put fails.
func increment(e *env, f tree.File) error {
	a, err := f.Attr(e.ctx)
	if err != nil {
		return err
	}
	h, err := f.Open(e.ctx, tree.OpenMode{Read: true})
	if err != nil {
		return err
	}
	defer h.Close()
	buf := make([]byte, 20)
	k, err := h.ReadAt(e.ctx, buf, 0)
	if k == 0 {
		return errors.Join(errors.New("nothing was read"), err)
	}
	n, err := strconv.Atoi(string(buf[:k]))
	if err != nil {
		return err
	}
	runtime.Gosched() // somebody else may be faster
	_, err = e.alice.Put(e.ctx, "n", tree.Put{If: &a.Version, Data: []byte(strconv.Itoa(n + 1))})
	return err
}

// Readers see one Put or another, never a mixture; one ReadAt is of one version.
func testPutIsWhole(e *env) {
	const size = 8 << 10
	value := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), size-i) }
	e.put(e.alice, "f", value(0))
	done := make(chan struct{})
	var reads [2]atomic.Int32
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			buf := make([]byte, size)
			for {
				select {
				case <-done:
					return
				default:
				}
				f, err := e.bob.Walk(e.ctx, "f")
				var h tree.Handle
				if err == nil {
					h, err = f.Open(e.ctx, tree.OpenMode{Read: true})
				}
				if err != nil {
					e.Errorf("open f: %v", err)
					return
				}
				n, _ := h.ReadAt(e.ctx, buf, 0)
				h.Close()
				if got := string(buf[:n]); n == 0 || got != value(size-n) {
					e.Errorf("%d bytes of a Put are %.20q…%.20q", n, got, got[max(0, n-20):])
					return
				}
				reads[i].Add(1)
			}
		})
	}
	for i := 0; i < 50 || i < 2000 && min(reads[0].Load(), reads[1].Load()) < 100 && !e.Failed(); i++ {
		if _, err := e.alice.Put(e.ctx, "f", tree.Put{Data: []byte(value(i % 100))}); err != nil {
			e.Errorf("Put: %v", err)
		}
	}
	close(done)
	wg.Wait()
}
