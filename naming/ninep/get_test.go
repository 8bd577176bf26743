package ninep

import (
	"context"
	"sync/atomic"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

// Trees that cannot give attributes and content in one step are read until both
// are of one version.
func TestGetOfTreesWithoutIt(t *testing.T) {
	g, _, open := holding(t, "none")
	close(open)
	root := attachRoot(t, connect(t, serve(t, caller("alice"), g, Options{})))
	data, w, err := root.Get(ctxOf(t), 100, "dir", "file")
	if err != nil || string(data) != "hello" || w.Attr.Size != 5 || w.Names != 2 {
		t.Errorf("Get = %q, %+v, %v", data, w, err)
	}
	if _, w, err := root.Get(ctxOf(t), 3, "dir", "file"); api.KindOf(err) != api.TooLarge || w.Attr.Size != 5 {
		t.Errorf("Get of at most 3 bytes: %+v, %v", w, err)
	}
	if _, w, err := root.Get(ctxOf(t), 100, "dir", "link"); err != nil || !w.Link || w.Attr.Target != "file" {
		t.Errorf("Get of a link: %+v, %v", w, err)
	}
	if _, _, err := root.Get(ctxOf(t), 100, "dir"); api.KindOf(err) != api.IsDir {
		t.Errorf("Get of a directory: %v", err)
	}
}

// restless is a file that has changed whenever it is looked at.
type restless struct {
	tree.File
	looks *atomic.Uint64
	calm  uint64 // from this look on it stays
}

func (f *restless) Walk(ctx context.Context, name string) (tree.File, error) {
	n, err := f.File.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	return &restless{n, f.looks, f.calm}, nil
}

func (f *restless) Attr(ctx context.Context) (tree.Attr, error) {
	a, err := f.File.Attr(ctx)
	a.Version = min(f.looks.Add(1), f.calm)
	return a, err
}

func TestGetOfWhatChanges(t *testing.T) {
	mem, err := fixed(t).Attach(ctxOf(t), caller(""), "", nil)
	ok(t, "Attach", err)
	ok(t, "furnish", furnish(t, mem))
	for name, c := range map[string]struct {
		calm uint64
		want api.Kind
	}{"for a while": {5, ""}, "for ever": {1 << 60, api.Busy}} {
		t.Run(name, func(t *testing.T) {
			root := attachRoot(t, connect(t, serve(t, caller("alice"), &attachTo{&restless{mem, new(atomic.Uint64), c.calm}}, Options{})))
			data, w, err := root.Get(ctxOf(t), 100, "dir", "file")
			if api.KindOf(err) != c.want {
				t.Errorf("Get: %v, want %q", err, c.want)
			}
			if err == nil && (string(data) != "hello" || w.Attr.Version != c.calm) {
				t.Errorf("Get = %q of version %d, want version %d", data, w.Attr.Version, c.calm)
			}
		})
	}
}

// What a tree may offer besides is there at the other end too.
func TestRemoteOffersWhatTheTreeDoes(t *testing.T) {
	fs := newMem(t, memfs.Options{MaxBytes: 1 << 20, MaxFiles: 10})
	r := Remote{connect(t, serve(t, caller(""), fs, Options{}))}
	root, err := r.Attach(ctxOf(t), api.Caller{}, "", nil)
	ok(t, "Attach", err)
	a, err := root.Put(ctxOf(t), "f", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o600}, Create: true, Data: make([]byte, 512<<10)})
	ok(t, "Put", err)
	f, err := root.Walk(ctxOf(t), "f")
	ok(t, "Walk", err)
	b, data, err := f.(tree.Getter).Get(ctxOf(t), 1<<20)
	if err != nil || len(data) != 512<<10 || b.Version != a.Version {
		t.Errorf("Get = %d bytes, %+v, %v", len(data), b, err)
	}
	if b, data, err := f.(tree.Getter).Get(ctxOf(t), 1<<10); err != nil || data != nil || b.Size != 512<<10 {
		t.Errorf("Get of too much = %d bytes, %+v, %v", len(data), b, err)
	}
	sp, err := root.(tree.Spacer).Space(ctxOf(t))
	if want := (tree.Space{Bytes: 1 << 20, FreeBytes: 512 << 10, Files: 10, FreeFiles: 8}); err != nil || sp != want {
		t.Errorf("Space = %+v, %v, want %+v", sp, err, want)
	}
	if FidOf(f) == nil || FidOf(&gateFile{}) != nil {
		t.Error("FidOf does not tell the files of a Remote from others")
	}
}
