package ninep

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
	"sigmaos/net/fdpass"
)

// onDisk is a tree whose handles are files of the disk.
type onDisk struct {
	tree.File
	name string
}

func (f *onDisk) Open(context.Context, tree.OpenMode) (tree.Handle, error) {
	return &diskHandle{name: f.name}, nil
}

func (f *onDisk) Walk(ctx context.Context, name string) (tree.File, error) { return f, nil }

func (f *onDisk) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{ID: 1, Mode: tree.ModeFile | 0o644, Size: 9}, nil
}

type diskHandle struct {
	tree.Handle
	name string
}

func (h *diskHandle) Descriptor() (*os.File, error) { return os.Open(h.name) }
func (h *diskHandle) Close() error                  { return nil }
func (h *diskHandle) WriteAt(_ context.Context, p []byte, _ int64) (int, error) {
	return len(p), nil
}

func (h *diskHandle) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	const text = "by message"
	if off >= int64(len(text)) {
		return 0, io.EOF
	}
	return copy(p, text[off:]), nil
}

func TestDescriptors(t *testing.T) {
	name := t.TempDir() + "/file"
	if err := os.WriteFile(name, []byte("from disk"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := fixed(t).Attach(ctxOf(t), caller(""), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		options []fdpass.Option
		mode    tree.OpenMode
		want    string
	}{
		{"to read", []fdpass.Option{fdpass.Take}, tree.OpenMode{Read: true}, "from disk"},
		{"to write too", []fdpass.Option{fdpass.Take}, tree.OpenMode{Read: true, Write: true}, "by message"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, fd, err := fdpass.Pair(unix.SOCK_STREAM)
			if err != nil {
				t.Fatal(err)
			}
			b, err := fdpass.New(fd, c.options...)
			if err != nil {
				t.Fatal(err)
			}
			serveOn(t, a, caller("alice"), &attachTo{&onDisk{root, name}}, Options{})
			f, _, err := connect(t, b).Attach(ctxOf(t), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 100 { // none is left in the table of either side
				h, _, err := f.Open(ctxOf(t), c.mode, "x")
				if err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 100)
				n, err := h.ReadAt(ctxOf(t), buf, 0)
				if got := string(buf[:n]); got != c.want || err != io.EOF {
					t.Fatalf("ReadAt: %q, %v, want %q", got, err, c.want)
				}
				d, err := h.Descriptor()
				if strings.HasPrefix(c.want, "from") != (err == nil) {
					t.Fatalf("Descriptor: %v", err)
				}
				closeFile(d)
				if err := h.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if n := openFiles(t, name); n != 0 {
				t.Errorf("%d descriptors of the file are open", n)
			}
		})
	}
}

// attachTo is a tree that is one File.
type attachTo struct{ tree.File }

func (f *attachTo) Attach(context.Context, api.Caller, string, *tree.Fence) (tree.File, error) {
	return f.File, nil
}

func openFiles(t *testing.T, name string) (n int) {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if s, _ := os.Readlink("/proc/self/fd/" + e.Name()); s == name {
			n++
		}
	}
	return n
}
