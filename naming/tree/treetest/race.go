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

// What a tree.Getter gives at once is of one version.
func testGet(e *env) {
	if _, ok := e.walkPut("f", "0").(tree.Getter); !ok {
		e.Skip("its files are no tree.Getter")
	}
	f := e.walk(e.bob, "f").(tree.Getter)
	wrote := map[uint64]string{}
	type read struct {
		version uint64
		content string
	}
	var reads []read
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			a, data, err := f.Get(e.ctx, 100)
			if err != nil || a.Size != int64(len(data)) {
				e.Errorf("Get = %+v, %q, %v", a, data, err)
				return
			}
			reads = append(reads, read{a.Version, string(data)})
			runtime.Gosched()
		}
	})
	for i := range 200 {
		content := strings.Repeat("x", i%50)
		wrote[e.put(e.alice, "f", content).Version] = content
		runtime.Gosched()
	}
	close(done)
	wg.Wait()
	for _, r := range reads {
		if want, known := wrote[r.version]; known && want != r.content {
			e.Fatalf("Get of version %d gives %q, which was written as %q", r.version, r.content, want)
		}
	}
	e.put(e.alice, "f", "0123456789")
	if a, data, err := f.Get(e.ctx, 9); err != nil || data != nil || a.Size != 10 {
		e.Errorf("Get of at most 9 of 10 bytes = %+v, %q, %v, want attributes alone", a, data, err)
	}
	d := e.create(e.alice, "d", tree.ModeDir|0o755)
	_, _, err := d.(tree.Getter).Get(e.ctx, 100)
	e.is(err, "Get of a directory", api.IsDir)
	if e.cfg.Owners {
		no := uint32(0o600)
		_, err := e.walk(e.alice, "f").SetAttr(e.ctx, tree.SetAttr{Perm: &no})
		e.ok(err, "SetAttr")
		_, _, err = f.Get(e.ctx, 100)
		e.is(err, "Get of what only its owner may read", api.Denied)
	}
}

func (e *env) walkPut(name, data string) tree.File {
	e.Helper()
	e.put(e.alice, name, data)
	return e.walk(e.alice, name)
}

// What a tree.EntryGetter gives is of a moment at which the entry had the name: a
// file that is moved away and written there is never read under its old name.
func testGetEntry(e *env) {
	dir, ok := e.bob.(tree.EntryGetter)
	if !ok {
		e.Skip("its directories are no tree.EntryGetter")
	}
	e.create(e.alice, "d", tree.ModeDir|0o755)
	e.put(e.alice, "f", "0123456789")
	want, data, err := e.walk(e.bob, "f").(tree.Getter).Get(e.ctx, 10)
	if a, got, gerr := dir.GetEntry(e.ctx, "f", 10); err != nil || gerr != nil || a != want || string(got) != string(data) {
		e.Errorf("GetEntry = %+v, %q, %v; Get = %+v, %q, %v", a, got, gerr, want, data, err)
	}
	if a, got, err := dir.GetEntry(e.ctx, "f", 9); err != nil || got != nil || a.Size != 10 {
		e.Errorf("GetEntry of at most 9 of 10 bytes = %+v, %q, %v, want attributes alone", a, got, err)
	}
	_, _, err = dir.GetEntry(e.ctx, "none", 10)
	e.is(err, "GetEntry of nothing", api.NotFound)
	_, _, err = dir.GetEntry(e.ctx, "d", 10)
	e.is(err, "GetEntry of a directory", api.IsDir)
	_, _, err = dir.GetEntry(e.ctx, "", 10)
	e.is(err, "GetEntry of no name", api.Invalid)
	_, _, err = e.walk(e.bob, "f").(tree.EntryGetter).GetEntry(e.ctx, "x", 10)
	e.is(err, "GetEntry in a file", api.NotDir)

	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			_, data, err := dir.GetEntry(e.ctx, "here", 100)
			if err != nil && api.KindOf(err) != api.NotFound || err == nil && string(data) != "here" {
				e.Errorf("GetEntry of here = %q, %v", data, err)
				return
			}
			runtime.Gosched()
		}
	})
	defer wg.Wait()
	defer close(done)
	for range 100 {
		e.put(e.alice, "here", "here")
		runtime.Gosched()
		e.ok(e.alice.Rename(e.ctx, "here", e.alice, "there"), "Rename")
		e.put(e.alice, "there", "there")
		runtime.Gosched()
	}
}
