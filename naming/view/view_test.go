package view_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
	"sigmaos/naming/view"
	"sigmaos/naming/view/viewtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// perCaller gives each caller of a suite a view of its own.
type perCaller struct {
	t     *testing.T
	realm *viewtest.Realm
	below string // the link that the suite works behind
	mu    sync.Mutex
	views map[api.Caller]*view.FS
}

func (p *perCaller) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	p.mu.Lock()
	v := p.views[c]
	if v == nil {
		v = newView(p.t, p.realm.As(c))
		p.views[c] = v
	}
	p.mu.Unlock()
	return v.Attach(ctx, c, p.below+"/"+aname, fence)
}

func newView(t testing.TB, src view.Source) *view.FS {
	v := view.New(view.Config{Source: src, Patience: time.Second, Quiet: time.Minute})
	t.Cleanup(func() { v.Close() })
	return v
}

// A view is a tree like any other, at home and behind a link.
func TestTree(t *testing.T) {
	for name, below := range map[string]string{"the realm's root": "", "behind a link": "/svc/files"} {
		t.Run(name, func(t *testing.T) {
			cfg := treetest.All()
			cfg.Leases, cfg.Fences, cfg.Endpoints = false, false, false // those are asked of the server itself
			cfg.MaxFile, cfg.History = 1<<20, 500
			treetest.Run(t, cfg, func(t *testing.T) tree.FS {
				mem := memfs.New(memfs.Options{MaxFile: cfg.MaxFile, History: cfg.History})
				t.Cleanup(func() { mem.Close() })
				r := viewtest.New(t, nil)
				if below == "" {
					r = viewtest.New(t, mem)
				} else {
					r.Add("files", mem)
					link(t, r, "files", "files")
				}
				return &perCaller{t: t, realm: r, below: below, views: make(map[api.Caller]*view.FS)}
			})
		})
	}
}

// link makes an endpoint link in /svc.
func link(t testing.TB, r *viewtest.Realm, name, target string) {
	t.Helper()
	root, err := r.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f, _, err := root.Create(t.Context(), tree.NewFile{Mode: tree.ModeDir | 0o777}, "svc"); err == nil {
		f.Forget()
	}
	f, _, err := root.Create(t.Context(), tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Exclusive: true, Target: target}, "svc", name)
	if err != nil {
		t.Fatalf("the link %s: %v", name, err)
	}
	f.Forget()
}

func look(t testing.TB, v *view.FS, path string) (tree.File, tree.Attr, error) {
	t.Helper()
	f, err := v.Attach(t.Context(), api.Caller{}, path, nil)
	if err != nil {
		return nil, tree.Attr{}, err
	}
	a, err := f.Attr(t.Context())
	return f, a, err
}

func put(t testing.TB, v *view.FS, dir, name, data string) {
	t.Helper()
	f, _, err := look(t, v, dir)
	if err == nil {
		p := tree.Put{Create: true, Data: []byte(data), NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}}
		_, err = f.Put(t.Context(), name, p)
	}
	if err != nil {
		t.Fatalf("Put(%s, %s): %v", dir, name, err)
	}
}

func content(t testing.TB, v *view.FS, path string) (string, error) {
	t.Helper()
	f, _, err := look(t, v, path)
	if err != nil {
		return "", err
	}
	_, b, err := f.(tree.Getter).Get(t.Context(), 1<<20)
	return string(b), err
}

func TestLinksLookLikeWhatIsBehind(t *testing.T) {
	r := viewtest.New(t, nil)
	r.Add("files", nil)
	r.Add("silent", nil).Mute()
	r.Add("dead", nil).Kill()
	for _, name := range []string{"files", "silent", "dead", "none"} {
		link(t, r, name, name)
	}
	v := newView(t, r)
	for name, want := range map[string]uint32{"files": tree.ModeDir, "silent": tree.ModeEndpoint, "dead": tree.ModeEndpoint, "none": tree.ModeEndpoint} {
		if _, a, err := look(t, v, "/svc/"+name); err != nil || a.Mode&tree.ModeType != want {
			t.Errorf("the link %s has mode %o (%v), want type %o", name, a.Mode, err, want)
		}
	}
	before := r.Tree("silent").Dials()
	if _, a, err := look(t, v, "/svc/silent"); err != nil || a.Mode&tree.ModeType != tree.ModeEndpoint || r.Tree("silent").Dials() != before {
		t.Errorf("a silent server was asked again at once: mode %o, %v", a.Mode, err)
	}
	if _, _, err := look(t, v, "/svc/none/x"); api.KindOf(err) != api.NotDir {
		t.Errorf("below a socket: %v, want NotDir", err)
	}
	put(t, v, "/svc/files", "f", "behind")
	if got, err := content(t, v, "/svc/files/f"); got != "behind" {
		t.Errorf("a file behind the link has %q (%v)", got, err)
	}
	svc, _, _ := look(t, v, "/svc")
	if err := svc.Remove(t.Context(), "files", true); api.KindOf(err) != api.Conflict {
		t.Errorf("Remove of the way to a server as a directory: %v, want Conflict", err)
	}
	if err := svc.Remove(t.Context(), "none", false); err != nil {
		t.Errorf("Remove of a link by its name: %v", err)
	}
}

// A link that was a directory does not become a socket while its server is dead,
// and calls below it end.
func TestDeadServerIsAnError(t *testing.T) {
	r := viewtest.New(t, nil)
	files := r.Add("files", nil)
	link(t, r, "files", "files")
	v := newView(t, r)
	put(t, v, "/svc/files", "f", "x")
	f, _, err := look(t, v, "/svc/files/f")
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Open(t.Context(), tree.OpenMode{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	files.Kill()
	for what, call := range map[string]func() error{
		"Attr of the link":   func() error { _, _, err := look(t, v, "/svc/files"); return err },
		"Attr of a file":     func() error { _, err := f.Attr(t.Context()); return err },
		"Open":               func() error { _, err := f.Open(t.Context(), tree.OpenMode{Read: true}); return err },
		"ReadAt of a handle": func() error { _, err := h.ReadAt(t.Context(), make([]byte, 1), 0); return err },
	} {
		if err := call(); api.KindOf(err) != api.Unavailable {
			t.Errorf("%s with the server dead: %v, want Unavailable", what, err)
		}
	}
	svc, _, err := look(t, v, "/svc")
	if err != nil {
		t.Fatal(err)
	}
	list, err := svc.ReadDir(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].Name != "files" {
		t.Errorf("the directory of the link lists %v (%v)", list, err)
	}
	files.Revive()
	deadline := time.Now().Add(10 * time.Second)
	for { // a dead one is not asked again for a second
		b := make([]byte, 1)
		if _, err := h.ReadAt(t.Context(), b, 0); (err == nil || errors.Is(err, io.EOF)) && b[0] == 'x' {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the handle does not come back with its server: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// When the realm's leader changes, files and handles find the new one.
func TestLostConnections(t *testing.T) {
	r := viewtest.New(t, nil)
	v := newView(t, r)
	root, _, err := look(t, v, "/")
	if err != nil {
		t.Fatal(err)
	}
	d, err := root.Create(t.Context(), "d", tree.NewFile{Mode: tree.ModeDir | 0o777})
	if err != nil {
		t.Fatal(err)
	}
	put(t, v, "/d", "f", "one")
	f, _, _ := look(t, v, "/d/f")
	h, err := f.Open(t.Context(), tree.OpenMode{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	app, err := f.Open(t.Context(), tree.OpenMode{Write: true, Append: true})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	for round := range 3 {
		r.Tree("").Cut()
		if _, err := d.Walk(t.Context(), "f"); err != nil {
			t.Errorf("round %d: Walk after the connection was lost: %v", round, err)
		}
		r.Tree("").Cut()
		if _, err := h.WriteAt(t.Context(), []byte("two"), 0); err != nil {
			t.Errorf("round %d: WriteAt after the connection was lost: %v", round, err)
		}
		r.Tree("").Cut()
		b := make([]byte, 3)
		if _, err := h.ReadAt(t.Context(), b, 0); err != nil || string(b) != "two" {
			t.Errorf("round %d: ReadAt gives %q, %v", round, b, err)
		}
		r.Tree("").Cut()
		if _, err := app.WriteAt(t.Context(), []byte("+"), 0); err != nil {
			t.Errorf("round %d: an append that was not sent yet: %v", round, err)
		}
	}
	if got, err := content(t, v, "/d/f"); got != "two+++" {
		t.Errorf("the file has %q (%v), want two+++", got, err)
	}
	// Another file with the name is not taken for it.
	if err := root.(*view.File).Remove(t.Context(), "d", true); api.KindOf(err) != api.NotEmpty {
		t.Errorf("Remove of a directory with a file: %v", err)
	}
	if err := d.Remove(t.Context(), "f", false); err != nil {
		t.Fatal(err)
	}
	put(t, v, "/d", "f", "three")
	r.Tree("").Cut()
	if _, err := f.Attr(t.Context()); api.KindOf(err) != api.TooOld {
		t.Errorf("Attr of a file whose name is another's by now: %v, want TooOld", err)
	}
	if _, err := h.ReadAt(t.Context(), make([]byte, 1), 0); api.KindOf(err) != api.TooOld {
		t.Errorf("ReadAt of its handle after the connection was lost: %v, want TooOld", err)
	}
}

func TestMembers(t *testing.T) {
	r := viewtest.New(t, nil)
	r.Local = "b"
	for _, name := range []string{"a", "b", "c"} {
		tr := r.Add(name, nil)
		link(t, r, "on-"+name, name)
		if name != "b" {
			tr.Kill()
		}
	}
	v := newView(t, r)
	f, a, err := look(t, v, "/svc/~local")
	if err != nil || a.Mode&tree.ModeType != tree.ModeSymlink || a.Target != "on-b" {
		t.Fatalf("~local is %+v (%v), want a symbolic link to on-b", a, err)
	}
	if _, err := f.Open(t.Context(), tree.OpenMode{Read: true}); api.KindOf(err) != api.Invalid {
		t.Errorf("Open of ~local: %v", err)
	}
	r.Local = ""
	if _, _, err := look(t, v, "/svc/~local"); api.KindOf(err) != api.NotFound {
		t.Errorf("~local where no server is: %v, want NotFound", err)
	}
	if _, a, err := look(t, v, "/svc/~any"); err != nil || a.Target != "on-b" {
		t.Errorf("~any is %q (%v), want the one that lives", a.Target, err)
	}
	if _, _, err := look(t, v, "/~any"); api.KindOf(err) != api.NotFound {
		t.Errorf("~any where there are no links: %v, want NotFound", err)
	}
	svc, _, _ := look(t, v, "/svc")
	if _, err := svc.Create(t.Context(), "~local", tree.NewFile{Mode: tree.ModeFile | 0o644}); api.KindOf(err) != api.Invalid {
		t.Errorf("Create of ~local: %v, want Invalid", err)
	}
	if err := svc.Rename(t.Context(), "on-a", svc, "~any"); api.KindOf(err) != api.Invalid {
		t.Errorf("Rename to ~any: %v, want Invalid", err)
	}
	list, err := svc.ReadDir(t.Context(), "", 10)
	if err != nil || len(list) != 3 {
		t.Errorf("they are listed: %v (%v)", list, err)
	}
}

// Of two servers no two files have one number, and a loop of links ends.
func TestPROBES_N23_Loops(t *testing.T) {
	r := viewtest.New(t, nil)
	r.Add("again", r.Tree("").FS)
	link(t, r, "again", "again")
	v := newView(t, r)
	path, seen := "", make(map[uint64]bool)
	var err error
	for i := range 40 {
		var a tree.Attr
		if _, a, err = look(t, v, path+"/"); err != nil {
			if i != 33 {
				t.Errorf("after %d links: %v", i, err)
			}
			break
		}
		if seen[a.ID] {
			t.Fatalf("the number %d is there twice, at %q", a.ID, path)
		}
		seen[a.ID] = true
		path += "/svc/again"
	}
	if api.KindOf(err) != api.Loop {
		t.Errorf("the end of a loop of links is %v, want Loop", err)
	}
}

// Directories keep a bounded number of fids, and go on without theirs.
func TestPlacesAreBounded(t *testing.T) {
	r := viewtest.New(t, nil)
	v := view.New(view.Config{Source: r, Places: 4})
	defer v.Close()
	var dirs []tree.File
	at := tree.File(v.Root())
	for i := range 20 {
		d, err := at.Create(t.Context(), fmt.Sprint("d", i), tree.NewFile{Mode: tree.ModeDir | 0o777})
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, d)
		at = d
	}
	for range 2 {
		for i, d := range dirs {
			if _, err := d.ReadDir(t.Context(), "", 10); err != nil {
				t.Fatalf("directory %d: %v", i, err)
			}
		}
	}
	if n := v.Kept(); n > 4 {
		t.Errorf("%d fids are kept, want 4 at most", n)
	}
	// One that was renamed meanwhile is found where it is.
	if err := v.Root().Rename(t.Context(), "d0", v.Root(), "e0"); err != nil {
		t.Fatal(err)
	}
	f, err := v.Root().Walk(t.Context(), "e0")
	if err != nil {
		t.Fatal(err)
	}
	dirs[0].(*view.File).Moved(f.(*view.File))
	if _, err := dirs[19].ReadDir(t.Context(), "", 10); err != nil {
		t.Errorf("below a directory that was moved: %v", err)
	}
}

// What a hostile server lists has no names that lead elsewhere.
func TestBadNamesAreLeftOut(t *testing.T) {
	r := viewtest.New(t, nil)
	r.Add("bad", badNames{r.Tree("").FS})
	link(t, r, "bad", "bad")
	v := newView(t, r)
	bad, _, err := look(t, v, "/svc/bad")
	if err != nil {
		t.Fatal(err)
	}
	list, err := bad.ReadDir(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].Name != "good" {
		t.Errorf("ReadDir gives %v (%v), want good alone", list, err)
	}
}

type badNames struct{ tree.FS }

type badDir struct{ tree.File }

func (b badNames) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	f, err := b.FS.Attach(ctx, c, aname, fence)
	return badDir{f}, err
}

func (badDir) ReadDir(_ context.Context, after string, max int) ([]tree.Dirent, error) {
	var out []tree.Dirent
	for _, n := range []string{"..", "../x", "/etc", "a\x00b", "good", "z/z"} {
		if n > after && len(out) < max {
			out = append(out, tree.Dirent{Name: n, ID: 7, Mode: tree.ModeFile})
		}
	}
	return out, nil
}
