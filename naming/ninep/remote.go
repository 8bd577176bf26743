package ninep

import (
	"context"
	"runtime"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Remote is the tree at the other end of a Client as a [tree.FS]: what a mount
// or a gateway serves on. The server knows one caller, that of the connection;
// whoever serves several callers keeps a Client for each.
type Remote struct{ C *Client }

var (
	_ tree.FS        = Remote{}
	_ tree.Leases    = Remote{}
	_ tree.Getter    = (*remoteFile)(nil)
	_ tree.Spacer    = (*remoteFile)(nil)
	_ tree.Forgetter = (*remoteFile)(nil)
	_ tree.Attrs     = (*Handle)(nil)
)

// Attach attaches as the connection's caller, whoever c is.
func (r Remote) Attach(ctx context.Context, _ api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	f, _, err := r.C.Attach(ctx, aname, fence)
	if err != nil {
		return nil, err
	}
	return newRemote(f), nil
}

// Grant makes a lease of the connection's caller.
func (r Remote) Grant(ctx context.Context, _ api.Caller, ttl time.Duration) (string, error) {
	return r.C.Grant(ctx, ttl)
}

// Renew gives a lease its time again.
func (r Remote) Renew(ctx context.Context, _ api.Caller, lease string) error {
	return r.C.Renew(ctx, lease)
}

// Revoke ends a lease.
func (r Remote) Revoke(ctx context.Context, _ api.Caller, lease string) error {
	return r.C.Revoke(ctx, lease)
}

// remoteFile is a fid. It ends with Forget, or when the garbage collector finds
// that nobody has the file any more; its methods keep it alive until they end.
type remoteFile struct {
	f       *Fid
	cleanup runtime.Cleanup
}

func newRemote(f *Fid) *remoteFile {
	r := &remoteFile{f: f}
	r.cleanup = runtime.AddCleanup(r, (*Fid).Forget, f)
	return r
}

// FidOf is the Fid behind a File of a Remote; nil for another File.
func FidOf(f tree.File) *Fid {
	if r, ok := f.(*remoteFile); ok {
		return r.f
	}
	return nil
}

func (r *remoteFile) Forget() {
	r.cleanup.Stop()
	r.f.Forget()
}

// atLink is the error for what cannot be done on a link.
func atLink(op string, w Walked, kind api.Kind) error {
	if !w.Link {
		return nil
	}
	return api.E(kind, op, "", "it is a link, to %.100q", w.Attr.Target)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *remoteFile) Attr(ctx context.Context) (tree.Attr, error) {
	defer runtime.KeepAlive(r)
	w, err := r.f.Stat(ctx)
	return w.Attr, err
}

func (r *remoteFile) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	defer runtime.KeepAlive(r)
	w, err := r.f.SetAttr(ctx, s)
	return w.Attr, err
}

func (r *remoteFile) Open(ctx context.Context, m tree.OpenMode) (tree.Handle, error) {
	defer runtime.KeepAlive(r)
	h, w, err := r.f.Open(ctx, m)
	if err := first(err, atLink("open", w, api.Invalid)); err != nil {
		return nil, err
	}
	return h, nil
}

func (r *remoteFile) Walk(ctx context.Context, name string) (tree.File, error) {
	defer runtime.KeepAlive(r)
	f, w, err := r.f.Walk(ctx, name)
	if err := first(err, atLink("walk", w, api.NotDir)); err != nil {
		return nil, err
	}
	return newRemote(f), nil
}

// ReadDir asks until it has max entries or all, since an answer may hold fewer.
func (r *remoteFile) ReadDir(ctx context.Context, after string, max int) ([]tree.Dirent, error) {
	defer runtime.KeepAlive(r)
	var out []tree.Dirent
	for len(out) < max {
		list, w, end, err := r.f.ReadDir(ctx, after, max-len(out), false)
		if err := first(err, atLink("readdir", w, api.NotDir)); err != nil {
			return nil, err
		}
		for _, e := range list {
			out = append(out, e.Dirent)
			after = e.Name
		}
		if end || len(list) == 0 {
			break
		}
	}
	return out, nil
}

func (r *remoteFile) Create(ctx context.Context, name string, n tree.NewFile) (tree.File, error) {
	defer runtime.KeepAlive(r)
	f, w, err := r.f.Create(ctx, n, name)
	if err := first(err, linkOrDir("create", w, api.Exists)); err != nil {
		return nil, err
	}
	return newRemote(f), nil
}

// linkOrDir is atLink for an operation on an entry, whose directory may be the
// link.
func linkOrDir(op string, w Walked, kind api.Kind) error {
	if w.Names == 0 {
		kind = api.NotDir
	}
	return atLink(op, w, kind)
}

func (r *remoteFile) Put(ctx context.Context, name string, p tree.Put) (tree.Attr, error) {
	defer runtime.KeepAlive(r)
	w, err := r.f.Put(ctx, p, name)
	return w.Attr, first(err, linkOrDir("put", w, api.Invalid))
}

func (r *remoteFile) Remove(ctx context.Context, name string, dir bool) error {
	defer runtime.KeepAlive(r)
	w, err := r.f.Remove(ctx, dir, name)
	return first(err, linkOrDir("remove", w, api.Invalid))
}

func (r *remoteFile) Rename(ctx context.Context, name string, to tree.File, newName string) error {
	defer runtime.KeepAlive(r)
	dst, ok := to.(*remoteFile)
	if !ok {
		return api.E(api.Unsupported, "rename", name, "it cannot move to another tree; copy it")
	}
	defer runtime.KeepAlive(dst)
	w, _, err := r.f.Rename(ctx, []string{name}, dst.f, []string{newName})
	return first(err, atLink("rename", w, api.NotDir))
}

func (r *remoteFile) Watch(ctx context.Context, version uint64, fn func(uint64, []tree.Event) error) error {
	defer runtime.KeepAlive(r)
	return r.f.Watch(ctx, version, fn)
}

func (r *remoteFile) Get(ctx context.Context, max int) (tree.Attr, []byte, error) {
	defer runtime.KeepAlive(r)
	data, w, err := r.f.Get(ctx, max)
	if api.KindOf(err) == api.TooLarge && w.Attr.Size > int64(max) {
		return w.Attr, nil, nil
	}
	return w.Attr, data, first(err, atLink("get", w, api.Invalid))
}

func (r *remoteFile) Space(ctx context.Context) (tree.Space, error) {
	defer runtime.KeepAlive(r)
	return r.f.Space(ctx)
}
