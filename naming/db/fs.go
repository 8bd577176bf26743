package db

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// The entries of a database's tree.
const (
	SessionFile  = "session"
	PostgresLink = "postgres" // dial it, and speak PostgreSQL's protocol
)

// FS is one realm's database as a tree.
type FS struct {
	b      Backend
	l      Limits
	target string // of the link; "" is none
	open   atomic.Int64
	born   time.Time
}

// New serves a database. target is where the endpoint link leads, "" for none.
func New(b Backend, l Limits, target string) *FS {
	l.defaults()
	return &FS{b: b, l: l, target: target, born: time.Now()}
}

// Attach gives the root, or what is at aname. Whose database it is was decided by
// who made the FS.
func (fs *FS) Attach(ctx context.Context, _ api.Caller, aname string, _ *tree.Fence) (tree.File, error) {
	if len(aname) > tree.MaxPath {
		return nil, api.E(api.TooLarge, "attach", "", "the path has %d bytes; the limit is %d", len(aname), tree.MaxPath)
	}
	var f tree.File = &file{fs: fs}
	var err error
	for name := range strings.SplitSeq(strings.Trim(aname, "/"), "/") {
		if name == "" {
			continue
		}
		if f, err = f.Walk(ctx, name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// file is the root (no name), the session, or the link.
type file struct {
	fs   *FS
	name string
}

// entries are the names in the root, in order.
func (fs *FS) entries() []string {
	if fs.target != "" {
		return []string{PostgresLink, SessionFile}
	}
	return []string{SessionFile}
}

func (f *file) Attr(context.Context) (tree.Attr, error) {
	a := tree.Attr{ID: 1, Version: 1, Mode: tree.ModeDir | 0o555, Links: 1, Modified: f.fs.born}
	switch f.name {
	case SessionFile:
		a.ID, a.Mode = 2, tree.ModeFile|0o666
	case PostgresLink:
		a.ID, a.Mode, a.Target = 3, tree.ModeEndpoint|0o666, f.fs.target
	}
	return a, nil
}

func (f *file) dir(op string) error {
	if f.name != "" {
		return api.E(api.NotDir, op, f.name, "it is no directory")
	}
	return nil
}

func (f *file) Walk(_ context.Context, name string) (tree.File, error) {
	if err := tree.CheckName("walk", name); err != nil {
		return nil, err
	}
	if err := f.dir("walk"); err != nil {
		return nil, err
	}
	for _, e := range f.fs.entries() {
		if e == name {
			return &file{f.fs, name}, nil
		}
	}
	text := "a database has one file, " + SessionFile
	if name == PostgresLink {
		text = "the realm's database is an SQLite, which has no protocol to dial; use the file " + SessionFile + ", or have an operator set a PostgreSQL (sigmactl realm set-db)"
	}
	return nil, api.E(api.NotFound, "walk", name, "%s", text)
}

func (f *file) ReadDir(ctx context.Context, after string, max int) (out []tree.Dirent, err error) {
	if err := f.dir("readdir"); err != nil {
		return nil, err
	}
	for _, e := range f.fs.entries() {
		if e > after && (max <= 0 || len(out) < max) {
			a, _ := (&file{f.fs, e}).Attr(ctx)
			out = append(out, tree.Dirent{Name: e, ID: a.ID, Mode: a.Mode})
		}
	}
	return out, nil
}

func (f *file) Open(ctx context.Context, m tree.OpenMode) (tree.Handle, error) {
	switch f.name {
	case "":
		return nil, api.E(api.IsDir, "open", f.name, "it is a directory")
	case PostgresLink:
		return nil, api.E(api.Invalid, "open", f.name, "it is a link; dial it")
	}
	if !m.Read || !(m.Write || m.Append) {
		return nil, api.E(api.Invalid, "open", f.name, "a session is opened for reading and writing: queries go in, rows come out")
	}
	return f.fs.session(ctx)
}

// SetAttr: programs truncate what they open; there is nothing to cut.
func (f *file) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	if s.Perm != nil || s.Owner != nil || s.Modified != nil || s.Size != nil && (*s.Size != 0 || f.name != SessionFile) {
		return tree.Attr{}, api.E(api.Unsupported, "setattr", f.name, "what is here stays as it is")
	}
	return f.Attr(ctx)
}

func (f *file) no(op, name string) error {
	if err := tree.CheckName(op, name); err != nil {
		return err
	}
	if err := f.dir(op); err != nil {
		return err
	}
	return api.E(api.Denied, op, name, "nothing is made or removed here; write queries to %s", SessionFile)
}

// Create finds what is there, for programs that open with O_CREATE.
func (f *file) Create(ctx context.Context, name string, n tree.NewFile) (tree.File, error) {
	if name == SessionFile && f.name == "" && n.Mode&tree.ModeType == tree.ModeFile {
		if n.Exclusive {
			return nil, api.E(api.Exists, "create", name, "it exists")
		}
		return f.Walk(ctx, name)
	}
	return nil, f.no("create", name)
}

func (f *file) Put(_ context.Context, name string, _ tree.Put) (tree.Attr, error) {
	return tree.Attr{}, f.no("put", name)
}

func (f *file) Remove(_ context.Context, name string, _ bool) error { return f.no("remove", name) }

func (f *file) Rename(_ context.Context, name string, _ tree.File, _ string) error {
	return f.no("rename", name)
}

func (f *file) Watch(context.Context, uint64, func(uint64, []tree.Event) error) error {
	return api.E(api.Unsupported, "watch", f.name, "databases tell no changes here")
}
