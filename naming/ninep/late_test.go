package ninep

import (
	"context"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

// late is a tree in which files come to be when they are closed.
type late struct {
	tree.File
	ends chan string
}

func (l *late) Attach(context.Context, api.Caller, string, *tree.Fence) (tree.File, error) {
	return l, nil
}

func (l *late) CreateOpen(_ context.Context, name string, _ tree.NewFile, _ tree.OpenMode) (tree.File, tree.Handle, error) {
	return &absent{name: name}, &lateHandle{l: l, name: name}, nil
}

// absent is a file that is not there yet.
type absent struct {
	tree.File
	name string
}

func (a *absent) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{}, api.E(api.NotFound, "stat", a.name, "it is not there yet")
}

type lateHandle struct {
	tree.Handle
	l    *late
	name string
	size int64
}

func (h *lateHandle) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	h.size = max(h.size, off+int64(len(p)))
	return len(p), nil
}

func (h *lateHandle) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{ID: 9, Version: 1, Mode: tree.ModeFile | 0o600, Size: h.size}, nil
}

func (h *lateHandle) SetAttr(ctx context.Context, _ tree.SetAttr) (tree.Attr, error) {
	return h.Attr(ctx)
}

func (h *lateHandle) Close() error {
	if h.name == "bad" {
		h.l.ends <- "failed"
		return api.E(api.Unavailable, "close", h.name, "the store is gone")
	}
	h.l.ends <- "closed"
	return nil
}

func (h *lateHandle) Abort() { h.l.ends <- "aborted" }

// A file that comes to be when it is closed does so by a clunk, and by nothing
// else: not by an abandon, not when its connection breaks.
func TestFilesThatComeToBeWhenClosed(t *testing.T) {
	mem, err := newMem(t, memfs.Options{}).Attach(ctxOf(t), caller(""), "", nil)
	ok(t, "Attach", err)
	for _, version := range []string{versionSigma, versionPlain} {
		for _, c := range []struct {
			name, file string
			end        func(*Client, *Handle) error
			want       string
			kind       api.Kind
		}{
			{"clunk", "f", func(_ *Client, h *Handle) error { return h.Close() }, "closed", ""},
			{"clunk that fails", "bad", func(_ *Client, h *Handle) error { return h.Close() }, "failed", api.Unavailable},
			{"abandon", "f", func(_ *Client, h *Handle) error { return h.Abandon() }, "aborted", ""},
			{"end of the connection", "f", func(c *Client, _ *Handle) error { return c.Close() }, "aborted", ""},
		} {
			if version == versionPlain && c.name == "abandon" {
				c.want = "closed" // that dialect has no other way
			}
			if version == versionPlain && c.kind != "" {
				c.kind = api.Internal // nor words for it
			}
			t.Run(version+" "+c.name, func(t *testing.T) {
				l := &late{File: mem, ends: make(chan string, 4)}
				cl := connectAs(t, serve(t, caller("alice"), l, Options{}), version)
				h, w, err := attachRoot(t, cl).CreateOpen(ctxOf(t), tree.NewFile{Mode: tree.ModeFile | 0o600}, tree.OpenMode{Write: true}, c.file)
				ok(t, "CreateOpen", err)
				if w.Attr.Links != 0 && version == versionSigma {
					t.Errorf("what is not there yet has %d links", w.Attr.Links)
				}
				_, err = h.WriteAt(ctxOf(t), []byte("text"), 0)
				ok(t, "WriteAt", err)
				if a, err := h.Attr(ctxOf(t)); err != nil || a.Size != 4 {
					t.Errorf("the handle has %d bytes, %v", a.Size, err)
				}
				if err := c.end(cl, h); api.KindOf(err) != c.kind && !(c.kind == api.Internal && err != nil) {
					t.Errorf("%s: %v, want kind %q", c.name, err, c.kind)
				}
				if got := <-l.ends; got != c.want {
					t.Errorf("it was %s, want %s", got, c.want)
				}
				cl.Close()
				select {
				case got := <-l.ends:
					t.Errorf("and then %s", got)
				default:
				}
			})
		}
	}
}
