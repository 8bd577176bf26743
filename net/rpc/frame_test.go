package rpc

import (
	"bytes"
	"io"
	"math/rand"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"sigmaos/api"
)

func TestReaderTakesFramesInAnyPieces(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 100, smallBuf - headerSize - 1, smallBuf, 20 << 10, largeBuf, 300 << 10, 3, 1 << 20, 0}
	for i, size := range sizes {
		stream = appendFrame(stream, kCall, uint32(i), 7, "", bytes.Repeat([]byte{byte(i)}, size))
	}
	random := rand.New(rand.NewSource(1))
	for name, src := range map[string]io.Reader{
		"whole":        bytes.NewReader(stream),
		"halves":       iotest.HalfReader(bytes.NewReader(stream)),
		"eof at once":  iotest.DataErrReader(bytes.NewReader(stream)),
		"random":       readerFunc(func(r io.Reader, p []byte) (int, error) { return r.Read(p[:random.Intn(len(p)+1)]) })(bytes.NewReader(stream)),
		"single bytes": iotest.OneByteReader(bytes.NewReader(stream[:50<<10])),
	} {
		t.Run(name, func(t *testing.T) {
			r := &reader{src: src, limit: 1 << 20}
			for i, size := range sizes {
				f, err := r.next()
				if name == "single bytes" && err == io.ErrUnexpectedEOF {
					return
				}
				if err != nil || f.id != uint32(i) || len(f.body) != size || bytes.Count(f.body, []byte{byte(i)}) != size {
					t.Fatalf("frame %d: id %d, %d bytes, %v; want %d bytes", i, f.id, len(f.body), err, size)
				}
			}
			if _, err := r.next(); err != io.EOF {
				t.Errorf("at the end: %v, want io.EOF", err)
			}
		})
	}
}

type pieces struct {
	r  io.Reader
	fn func(io.Reader, []byte) (int, error)
}

func (p pieces) Read(b []byte) (int, error) { return p.fn(p.r, b) }

func readerFunc(fn func(io.Reader, []byte) (int, error)) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader { return pieces{r, fn} }
}

func TestReaderRefuses(t *testing.T) {
	good := appendFrame(nil, kCall, 1, 0, "m", make([]byte, 100))
	change := func(i int, v byte) []byte { b := bytes.Clone(good); b[i] = v; return b }
	for _, c := range []struct {
		name string
		in   []byte
		want error // nil: an error of kind Invalid
	}{
		{"over the limit", appendFrame(nil, kCall, 1, 0, "", make([]byte, 1025)), nil},
		{"4 GiB", change(3, 0xff), nil},
		{"type 0", change(4, 0), nil},
		{"unknown type", change(4, byte(kPong)+1), nil},
		{"reserved byte 6", change(6, 1), nil},
		{"reserved byte 7", change(7, 1), nil},
		{"name longer than the frame", change(5, 102), nil},
		{"cut in the header", good[:15], io.ErrUnexpectedEOF},
		{"cut in the body", good[:len(good)-1], io.ErrUnexpectedEOF},
		{"cut before the body", good[:headerSize], io.ErrUnexpectedEOF},
		{"cut in a long body", appendFrame(nil, kCall, 1, 0, "", make([]byte, 1024))[:1000], io.ErrUnexpectedEOF},
		{"nothing", nil, io.EOF},
	} {
		_, err := (&reader{src: bytes.NewReader(c.in), limit: 1024}).next()
		if c.want != nil && err != c.want || c.want == nil && api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A header that announces much costs nothing before the bytes come.
func TestReaderAllocatesAsBytesCome(t *testing.T) {
	head := appendFrame(nil, kCall, 1, 0, "", make([]byte, 32<<20))[:headerSize+100]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		if _, err := (&reader{src: bytes.NewReader(head), limit: mostFrame}).next(); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	perRun := (after.TotalAlloc - before.TotalAlloc) / 10
	if perRun > 2*largeBuf {
		t.Errorf("%d bytes were allocated for 100 of 32 MiB", perRun)
	}
}

// The buffer follows the traffic, both ways.
func TestReaderBufferFollows(t *testing.T) {
	var stream []byte
	for range 200 {
		stream = appendFrame(stream, kData, 1, 0, "", make([]byte, 3000))
	}
	few := appendFrame(nil, kPing, 0, 0, "", nil)
	r := &reader{limit: 1 << 20}
	r.src = io.MultiReader(bytes.NewReader(stream), pieces{iotest.OneByteReader(bytes.NewReader(bytes.Repeat(few, 300))), func(r io.Reader, p []byte) (int, error) { return io.ReadFull(r, p[:min(headerSize, len(p))]) }})
	largest := 0
	for {
		if _, err := r.next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(r.buf))
	}
	if largest != largeBuf || len(r.buf) != smallBuf {
		t.Errorf("buffer grew to %d and ended at %d; want %d and %d", largest, len(r.buf), largeBuf, smallBuf)
	}
}

func TestHello(t *testing.T) {
	good := goodHello(roleCaller)
	change := func(i int, v ...byte) []byte { b := bytes.Clone(good); copy(b[i:], v); return b }
	for _, c := range []struct {
		name string
		in   []byte
		want api.Kind
	}{
		{"good", good, ""},
		{"newer and this", change(4, 9, 1), ""},
		{"newer only", change(4, 9, 2), api.Unsupported},
		{"older only", change(4, 0, 0), api.Unsupported},
		{"newest below oldest", change(4, 1, 2), api.Unsupported},
		{"same role", goodHello(roleServer), api.Invalid},
		{"no role", change(6, 7), api.Invalid},
		{"reserved", change(7, 1), api.Invalid},
		{"frame too small", change(8, 0xff, 0xff, 0, 0), api.Invalid},
		{"window too small", change(12, 0, 0, 0, 0), api.Invalid},
		{"no calls", change(16, 0, 0, 0, 0), api.Invalid},
		{"everything", change(8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ""},
		{"http", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), api.Invalid},
		{"one wrong byte", []byte{0xcf, 0}, api.Invalid},
		{"tls", []byte{0x16, 3, 1, 2, 0, 1}, api.Invalid},
	} {
		h, err := readHello(iotest.OneByteReader(bytes.NewReader(c.in)), roleCaller)
		if api.KindOf(err) != c.want {
			t.Errorf("%s: %+v, %v; want kind %q", c.name, h, err, c.want)
		}
		if err == nil && (h.maxFrame > mostFrame || h.window > mostFrame || h.maxCalls > mostCalls) {
			t.Errorf("%s: limits %+v were not cut", c.name, h)
		}
	}
	if _, err := readHello(bytes.NewReader(good[:10]), roleCaller); err != io.ErrUnexpectedEOF {
		t.Errorf("cut: %v", err)
	}
	if _, err := readHello(bytes.NewReader(nil), roleCaller); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
}

func TestErrorsOnTheWire(t *testing.T) {
	for _, e := range []*api.Error{
		{Kind: api.NotFound, Op: "open", Subject: "/a/ü", Text: "no such file"},
		{Kind: api.Busy},
		{Kind: "of a later version", Text: strings.Repeat("x", 4096)},
	} {
		if got, err := decodeError(appendError(nil, e)); err != nil || *got != *e {
			t.Errorf("decodeError(appendError(%+v)): %+v, %v", e, got, err)
		}
	}
	long := &api.Error{Kind: api.Internal, Op: strings.Repeat("o", 999), Subject: strings.Repeat("s", 9999), Text: "x" + strings.Repeat("ü", 9999)}
	b := appendError(nil, long)
	got, err := decodeError(b)
	if err != nil || len(got.Op) != 256 || len(got.Subject) != 1024 || len(got.Text) != 4095 || !utf8.ValidString(got.Text) {
		t.Errorf("an error that is too long: %d, %d, %d bytes, %v", len(got.Op), len(got.Subject), len(got.Text), err)
	}
	for i := range b {
		if _, err := decodeError(b[:i]); api.KindOf(err) != api.Invalid {
			t.Fatalf("cut at %d: %v, want kind %q", i, err, api.Invalid)
		}
	}
	for name, b := range map[string][]byte{"no kind": make([]byte, 8), "more": append(b, 0), "kind of 65 bytes": append([]byte{65, 0}, make([]byte, 100)...)} {
		if e, err := decodeError(b); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// Whatever comes, in whatever pieces: no panic, no more memory than bytes ask
// for, and frames that are written again are the same bytes.
func FuzzReader(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, kPing, 0, 0, "", nil), kCall, 3, 100, "method", []byte("body")))
	f.Add(appendFrame(nil, kData, 1, 0, "", make([]byte, 5000)))
	f.Add([]byte{1, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 9})
	f.Add(append(appendFrame(nil, kCredit, 1, 1<<31, "", nil), 0xff, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, in []byte) {
		a := &reader{src: bytes.NewReader(in), limit: 64 << 10}
		b := &reader{src: iotest.HalfReader(bytes.NewReader(in)), limit: 64 << 10}
		rest := in
		for {
			x, errx := a.next()
			y, erry := b.next()
			if (errx == nil) != (erry == nil) {
				t.Fatalf("whole: %v, in pieces: %v", errx, erry)
			}
			if errx != nil {
				return
			}
			again := appendFrame(nil, x.kind, x.id, x.arg, string(x.name), x.body)
			if !bytes.Equal(again, rest[:len(again)]) || !bytes.Equal(x.body, y.body) || x.header != y.header {
				t.Fatalf("frame % x was read as %+v and %+v", rest[:len(again)], x, y)
			}
			rest = rest[len(again):]
		}
	})
}

func FuzzError(f *testing.F) {
	f.Add(appendError(nil, api.E(api.Busy, "op", "subject", "text")))
	f.Add([]byte{1, 0, 'x', 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := decodeError(in)
		if err == nil && !bytes.Equal(appendError(nil, e), in) {
			t.Errorf("% x was read as %+v", in, e)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(goodHello(roleCaller))
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := readHello(bytes.NewReader(in), roleCaller)
		if err == nil && (h.role != roleCaller || h.maxFrame < minFrame || h.window < minWindow || h.maxCalls < minCalls) {
			t.Errorf("% x was taken as %+v", in, h)
		}
	})
}
