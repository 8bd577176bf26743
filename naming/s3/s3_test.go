package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/s3"
	"sigmaos/naming/s3/s3test"
	"sigmaos/naming/tree"
)

func put(t testing.TB, dir tree.File, name, data string) {
	t.Helper()
	_, err := dir.Put(t.Context(), name, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: []byte(data)})
	if err != nil {
		t.Fatalf("Put(%q): %v", name, err)
	}
}

func list(t testing.TB, dir tree.File, max int) (names []string) {
	t.Helper()
	for after := ""; ; {
		page, err := dir.ReadDir(t.Context(), after, max)
		if err != nil {
			t.Fatalf("ReadDir(%q, %d): %v", after, max, err)
		}
		for _, d := range page {
			names, after = append(names, d.Name), d.Name
		}
		if len(page) < max {
			return names
		}
	}
}

// Realms share a store by prefixes: one sees nothing of another, whatever name it
// asks for.
func TestRealmsAreApart(t *testing.T) {
	_, st := s3test.Start(t)
	s := serve(t, st, s3.Config{Store: func(_ context.Context, realm string) (s3.Store, error) {
		st := st
		st.Prefix = realm + "-"
		return st, nil
	}})
	root := make(map[string]tree.File)
	for _, realm := range []string{"red", "blue"} {
		f, err := s.FS().Attach(t.Context(), api.Caller{Realm: realm}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Create(t.Context(), "data", tree.NewFile{Mode: tree.ModeDir, Exclusive: true}); err != nil {
			t.Fatalf("a bucket data in realm %s: %v", realm, err)
		}
		d, err := f.Walk(t.Context(), "data")
		if err != nil {
			t.Fatal(err)
		}
		put(t, d, "whose", realm)
		root[realm] = f
	}
	put(t, bucket2(t, root["blue"], "secret"), "f", "x")
	if got := list(t, root["red"], 100); len(got) != 1 || got[0] != "data" {
		t.Errorf("realm red sees %q, want its bucket data alone", got)
	}
	for _, name := range []string{"secret", "blue-secret", "red-data", "..", "../blue-data", "data/../../blue-data", ""} {
		if _, err := root["red"].Walk(t.Context(), name); err == nil {
			t.Errorf("realm red walks to %q", name)
		}
		if err := root["red"].Remove(t.Context(), name, true); err == nil {
			t.Errorf("realm red removes %q", name)
		}
	}
	d, _ := root["red"].Walk(t.Context(), "data")
	f, err := d.Walk(t.Context(), "whose")
	if err != nil {
		t.Fatal(err)
	}
	if _, b, err := f.(tree.Getter).Get(t.Context(), 100); string(b) != "red" {
		t.Errorf("realm red reads %q of its own, %v", b, err)
	}
	if _, err := s.FS().Attach(t.Context(), api.Caller{Operator: true}, "", nil); api.KindOf(err) != api.Invalid {
		t.Errorf("Attach without a realm: %v", err)
	}
}

func bucket2(t *testing.T, root tree.File, name string) tree.File {
	f, err := root.Create(t.Context(), name, tree.NewFile{Mode: tree.ModeDir, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Keys with .., //, NUL, a slash at the end, 1,024 bytes.
func TestBadKeys(t *testing.T) {
	_, st := s3test.Start(t)
	s := serve(t, st, s3.Config{})
	dir := bucket(t, s)
	for _, name := range []string{"..", ".", "", "a/b", "a/", "/", "a\x00", "\xff"} {
		for op, call := range map[string]func() error{
			"Walk":   func() error { _, err := dir.Walk(t.Context(), name); return err },
			"Create": func() error { _, err := dir.Create(t.Context(), name, tree.NewFile{Mode: tree.ModeFile}); return err },
			"Put":    func() error { _, err := dir.Put(t.Context(), name, tree.Put{Create: true}); return err },
			"Remove": func() error { return dir.Remove(t.Context(), name, false) },
			"CreateOpen": func() error {
				_, _, err := dir.(tree.CreateOpener).CreateOpen(t.Context(), name, tree.NewFile{Mode: tree.ModeFile}, tree.OpenMode{Write: true})
				return err
			},
		} {
			if err := call(); api.KindOf(err) != api.Invalid {
				t.Errorf("%s(%q): %v, want Invalid", op, name, err)
			}
		}
	}
	// Four names of 250 bytes and their slashes fit into a key, five do not.
	at := dir
	for range 4 {
		f, err := at.Create(t.Context(), strings.Repeat("k", 250), tree.NewFile{Mode: tree.ModeDir})
		if err != nil {
			t.Fatalf("a directory whose key has less than 1,024 bytes: %v", err)
		}
		at = f
	}
	put(t, at, "0123456789abcdefghi", "fits: 1,024 bytes less one")
	_, err := at.Put(t.Context(), strings.Repeat("k", 250), tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true})
	kindIs(t, "Put of a key of over 1,024 bytes", err, api.TooLarge)
	_, err = at.Walk(t.Context(), strings.Repeat("k", 250))
	kindIs(t, "Walk to a key of over 1,024 bytes", err, api.TooLarge, api.NotFound)
	root, _ := s.FS().Attach(t.Context(), caller, "", nil)
	for name, want := range map[string][]api.Kind{"UPPER": {api.Invalid}, "a": {api.Invalid}, "a b": {api.Invalid}, "-ab": {api.Invalid}, "x..": {api.Invalid}, strings.Repeat("b", 64): {api.Invalid}} {
		_, err := root.Create(t.Context(), name, tree.NewFile{Mode: tree.ModeDir})
		kindIs(t, "a bucket "+name, err, want...)
	}
	_, err = root.Walk(t.Context(), "no-such-bucket")
	kindIs(t, "Walk to a bucket that is not there", err, api.NotFound)
	_, err = root.Put(t.Context(), "file", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true})
	kindIs(t, "Put beside the buckets", err, api.Invalid)
	for _, bad := range []s3.Store{{}, {AccessKey: "a"}, {AccessKey: "a", Secret: "b"}, {Endpoint: "ftp://x", AccessKey: "a", Secret: "b"}, {Endpoint: "http://u:p@x", AccessKey: "a", Secret: "b"}, {Endpoint: "http://x/path", AccessKey: "a", Secret: "b"}, {Endpoint: "unix:rel", AccessKey: "a", Secret: "b"}, {Region: "eu", AccessKey: "a\n", Secret: "b"}} {
		if err := bad.Check(); api.KindOf(err) != api.Invalid {
			t.Errorf("Check of %v: %v, want Invalid", bad, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", st, st, st); strings.Contains(text, st.Secret) {
		t.Errorf("a Store prints its secret: %s", text)
	}
}

// The realm's unsent bytes are bounded: a writer beyond waits, and is told.
func TestUnsentIsBounded(t *testing.T) {
	t.Parallel()
	_, st := s3test.Start(t)
	s := serve(t, st, s3.Config{Unsent: 2 << 20, Part: 5 << 20, Patience: 2 * time.Second})
	dir := bucket(t, s)
	var open []tree.Handle
	var err error
	for i := 0; i < 4 && err == nil; i++ {
		var h tree.Handle
		_, h, err = dir.(tree.CreateOpener).CreateOpen(t.Context(), fmt.Sprint("f", i), tree.NewFile{Mode: tree.ModeFile}, tree.OpenMode{Write: true})
		if err == nil {
			open = append(open, h)
			_, err = h.WriteAt(t.Context(), make([]byte, 1<<20), 0)
		}
	}
	kindIs(t, "the third MiB", err, api.Busy)
	for _, h := range open {
		h.(tree.Aborter).Abort()
	}
	_, h, err := dir.(tree.CreateOpener).CreateOpen(t.Context(), "g", tree.NewFile{Mode: tree.ModeFile}, tree.OpenMode{Write: true})
	if err == nil {
		_, err = h.WriteAt(t.Context(), make([]byte, 1<<20), 0)
	}
	if err == nil {
		err = h.Close()
	}
	if err != nil {
		t.Errorf("when the others were given up: %v", err)
	}
}

// The server of a fresh cluster is started again when it died, with its buckets.
func TestOwnServerComesBack(t *testing.T) {
	own, st := s3test.Start(t)
	s := serve(t, st, s3.Config{Store: func(ctx context.Context, _ string) (s3.Store, error) { return own.Use(ctx) }})
	dir := bucket(t, s)
	put(t, dir, "f", "x")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", own.PID()))
	if err != nil || !strings.Contains(string(status), "CapEff:\t0000000000000000") {
		t.Errorf("the server has more rights than its files: %v\n%s", err, status)
	}
	p, err := os.FindProcess(own.PID())
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		f, err := dir.Walk(t.Context(), "f")
		if err == nil {
			if _, b, err := f.(tree.Getter).Get(t.Context(), 10); string(b) == "x" && err == nil {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("20 s after the server was killed: %v", err)
		}
	}
}

// pair is two ends of a socket.
func pair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("unix", l.Addr().String()); err == nil {
		b, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// One stream shall have 0.8 of the throughput of the SDK used directly.
func BenchmarkStream(b *testing.B) {
	_, st := s3test.Start(b)
	s := serve(b, st, s3.Config{})
	dir := bucket(b, s)
	const size = 256 << 20
	buf := make([]byte, 1<<20)
	write := func() {
		_, h, err := dir.(tree.CreateOpener).CreateOpen(context.Background(), "f", tree.NewFile{Mode: tree.ModeFile}, tree.OpenMode{Write: true, Truncate: true})
		if err != nil {
			b.Fatal(err)
		}
		for off := int64(0); off < size; off += int64(len(buf)) {
			if _, err := h.WriteAt(context.Background(), buf, off); err != nil {
				b.Fatal(err)
			}
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
	write()
	b.Run("write", func(b *testing.B) {
		b.SetBytes(size)
		for range b.N {
			write()
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(size)
		for range b.N {
			f, err := dir.Walk(context.Background(), "f")
			if err != nil {
				b.Fatal(err)
			}
			h, err := f.Open(context.Background(), tree.OpenMode{Read: true})
			if err != nil {
				b.Fatal(err)
			}
			for off := int64(0); off < size; off += int64(len(buf)) {
				if n, err := h.ReadAt(context.Background(), buf, off); n != len(buf) {
					b.Fatal(err)
				}
			}
			h.Close()
		}
	})
	ours, theirs := pair(b)
	served := make(chan struct{})
	go func() {
		defer close(served)
		ninep.Serve(context.Background(), theirs, caller, s.FS(), ninep.Options{})
	}()
	cl, err := ninep.NewClient(context.Background(), ours)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cl.Close(); <-served })
	root, _, err := cl.Attach(context.Background(), fmt.Sprintf("bucket-%d", buckets.Load()), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read behind the wire", func(b *testing.B) {
		b.SetBytes(size)
		for range b.N {
			h, _, err := root.Open(context.Background(), tree.OpenMode{Read: true}, "f")
			if err != nil {
				b.Fatal(err)
			}
			for off := int64(0); off < size; off += int64(len(buf)) {
				if n, err := h.ReadAt(context.Background(), buf, off); n != len(buf) {
					b.Fatal(err)
				}
			}
			h.Close()
		}
	})
	b.Run("write behind the wire", func(b *testing.B) {
		b.SetBytes(size)
		for range b.N {
			h, _, err := root.CreateOpen(context.Background(), tree.NewFile{Mode: tree.ModeFile}, tree.OpenMode{Write: true, Truncate: true}, "f")
			if err != nil {
				b.Fatal(err)
			}
			for off := int64(0); off < size; off += int64(len(buf)) {
				if n, err := h.WriteAt(context.Background(), buf, off); n != len(buf) {
					b.Fatal(err)
				}
			}
			if err := h.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	c := s3.Connect(st)
	name := aws.String(fmt.Sprintf("bucket-%d", buckets.Load()))
	b.Run("read with the SDK", func(b *testing.B) {
		b.SetBytes(size)
		for range b.N {
			out, err := c.GetObject(context.Background(), &sdk.GetObjectInput{Bucket: name, Key: aws.String("f")})
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{out.Body}, buf); n != size {
				b.Fatal(err)
			}
			out.Body.Close()
		}
	})
	b.Run("write with the SDK", func(b *testing.B) {
		b.SetBytes(size)
		data := make([]byte, size)
		for range b.N {
			_, err := c.PutObject(context.Background(), &sdk.PutObjectInput{Bucket: name, Key: aws.String("g"), Body: bytes.NewReader(data)})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write in parts with the SDK", func(b *testing.B) {
		b.SetBytes(size)
		part := make([]byte, 8<<20)
		for range b.N {
			up, err := c.CreateMultipartUpload(context.Background(), &sdk.CreateMultipartUploadInput{Bucket: name, Key: aws.String("h")})
			if err != nil {
				b.Fatal(err)
			}
			parts := make([]types.CompletedPart, size/len(part))
			var wg sync.WaitGroup
			for w := range 2 {
				wg.Go(func() {
					for i := w; i < len(parts); i += 2 {
						out, err := c.UploadPart(context.Background(), &sdk.UploadPartInput{Bucket: name, Key: aws.String("h"), UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(part)})
						if err != nil {
							b.Error(err)
							return
						}
						parts[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.ETag}
					}
				})
			}
			wg.Wait()
			if _, err := c.CompleteMultipartUpload(context.Background(), &sdk.CompleteMultipartUploadInput{Bucket: name, Key: aws.String("h"), UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A realm that may write no more is told so, and nothing comes of the write.
func TestNoRoom(t *testing.T) {
	_, st := s3test.Start(t)
	var left atomic.Int64
	s := serve(t, st, s3.Config{Part: 5 << 20, Room: func(_ context.Context, realm string, n int64) error {
		if left.Add(-n) < 0 {
			return api.E(api.Busy, "write", "", "realm %s is full", realm)
		}
		return nil
	}})
	dir := bucket(t, s)
	left.Store(100)
	put(t, dir, "small", "fits")
	_, err := dir.Put(t.Context(), "large", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: make([]byte, 101)})
	kindIs(t, "Put of more than there is room for", err, api.Busy)
	left.Store(7 << 20)
	_, h, err := dir.(tree.CreateOpener).CreateOpen(t.Context(), "streamed", tree.NewFile{Mode: tree.ModeFile}, tree.OpenMode{Write: true})
	for off := int64(0); off < 12<<20 && err == nil; off += 1 << 20 {
		_, err = h.WriteAt(t.Context(), make([]byte, 1<<20), off)
	}
	kindIs(t, "Close of more than there is room for", h.Close(), api.Busy)
	if got := list(t, dir, 10); len(got) != 1 {
		t.Errorf("there are %q, want what fitted alone", got)
	}
}

// An object of 5 GiB, written as a stream and read here and there.
func TestLargeObject(t *testing.T) {
	size := int64(40<<20 + 1)
	if os.Getenv("SIGMA_LONG") != "" {
		size = 5<<30 + 1
	}
	_, st := s3test.Start(t)
	s := serve(t, st, s3.Config{})
	dir := bucket(t, s)
	_, h, err := dir.(tree.CreateOpener).CreateOpen(t.Context(), "f", tree.NewFile{Mode: tree.ModeFile}, tree.OpenMode{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 1<<20)
	stamp := func(off int64) { copy(piece, fmt.Sprintf("%020d", off)) }
	for off := int64(0); off < size; off += int64(len(piece)) {
		stamp(off)
		if _, err := h.WriteAt(t.Context(), piece[:min(int64(len(piece)), size-off)], off); err != nil {
			t.Fatalf("WriteAt %d: %v", off, err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := dir.Walk(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := f.Attr(t.Context()); err != nil || a.Size != size {
		t.Fatalf("it has %d bytes, %v; want %d", a.Size, err, size)
	}
	if h, err = f.Open(t.Context(), tree.OpenMode{Read: true}); err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	buf := make([]byte, 20)
	for _, at := range []int64{0, 8 << 20, size/2>>20<<20 - 20, (size - 1) >> 20 << 20} {
		n, err := h.ReadAt(t.Context(), buf, at>>20<<20)
		want := fmt.Sprintf("%020d", at>>20<<20)[:min(20, size-at>>20<<20)]
		if string(buf[:n]) != want || err != nil && err != io.EOF {
			t.Errorf("at %d: %q, %v; want %q", at>>20<<20, buf[:n], err, want)
		}
	}
}
