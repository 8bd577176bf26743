package ninep

import (
	"testing"

	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

// A name that is renamed over is there all the time: an operation by path does
// not end at the file that was there before.
func TestReplacedOnTheWay(t *testing.T) {
	fs := newMem(t, memfs.Options{})
	f, _, err := connect(t, serve(t, caller(""), fs, Options{})).Attach(ctxOf(t), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, data string) {
		t.Helper()
		p := tree.Put{Create: true, Data: []byte(data), NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}}
		if _, err := f.Put(ctxOf(t), p, name); err != nil {
			t.Fatal(err)
		}
	}
	put("doc", "x")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			put("tmp", "x")
			if _, _, err := f.Rename(ctxOf(t), []string{"tmp"}, f, []string{"doc"}); err != nil {
				t.Errorf("Rename: %v", err)
				return
			}
		}
	}()
	for range 2000 {
		if _, err := f.Stat(ctxOf(t), "doc"); err != nil {
			t.Errorf("Stat of a name that is renamed over: %v", err)
			break
		}
		h, _, err := f.Open(ctxOf(t), tree.OpenMode{Read: true}, "doc")
		if err != nil {
			t.Errorf("Open of a name that is renamed over: %v", err)
			break
		}
		h.Close()
		if b, _, err := f.Get(ctxOf(t), 100, "doc"); err != nil || string(b) != "x" {
			t.Errorf("Get of a name that is renamed over: %q, %v", b, err)
			break
		}
	}
	close(stop)
	<-done
}
