package ninep

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

// raw is a peer that sends what a test wants it to.
type raw struct {
	t    testing.TB
	conn Conn
	in   *frames
	pool pool
}

func newRaw(t testing.TB, conn Conn) *raw {
	r := &raw{t: t, conn: conn}
	r.in = newFrames(conn, &r.pool, time.Minute)
	r.in.limit = maxSigma
	return r
}

// start is a raw peer of a fresh server, past its Tversion and with the root as
// fid 0.
func start(t testing.TB, c api.Caller, fs tree.FS, o Options, dialect string) *raw {
	t.Helper()
	r := newRaw(t, serve(t, c, fs, o))
	r.ask(noTag, tVersion, &version{Msize: 64 << 10, Version: dialect})
	r.ask(1, tAttach, &attach{Fid: 0, Afid: noFid})
	return r
}

func (r *raw) send(tag uint16, typ uint8, m message) { r.bytes(appendFrame(nil, typ, tag, m)) }

func (r *raw) bytes(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

// recv returns the next answer; nil is the end of the connection.
func (r *raw) recv() (tag uint16, m message) {
	r.t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	b, err := r.in.next()
	if err != nil {
		if ne, ok := err.(interface{ Timeout() bool }); ok && ne.Timeout() {
			r.t.Fatalf("no answer: %v", err)
		}
		return 0, nil
	}
	m = newAnswer(frameType(b.b))
	if m == nil {
		r.t.Fatalf("an answer of type %d", frameType(b.b))
	}
	if err := decode(b.b[headerSize:], m); err != nil {
		r.t.Fatalf("answer %x: %v", b.b, err)
	}
	return frameTag(b.b), m // b stays m's
}

// ask sends a request and returns its answer, the next one.
func (r *raw) ask(tag uint16, typ uint8, m message) message {
	r.t.Helper()
	r.send(tag, typ, m)
	got, a := r.recv()
	if a != nil && got != tag {
		r.t.Fatalf("the answer to tag %d has tag %d: %+v", tag, got, a)
	}
	return a
}

// ended waits for the server to end the connection.
func (r *raw) ended() {
	r.t.Helper()
	for {
		if _, m := r.recv(); m == nil {
			return
		}
	}
}

// text is a message for people: its fields that are not zero.
func text(m message) string {
	v := reflect.ValueOf(m).Elem()
	return v.Type().Name() + show(v)
}

const noTime = "-62135596800.0s"

func show(v reflect.Value) string {
	if v.CanInterface() {
		switch x := v.Interface().(type) {
		case []byte:
			return strconv.Quote(string(x))
		case time.Time:
			return fmt.Sprintf("%d.%ds", x.Unix(), x.Nanosecond())
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return show(v.Elem())
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, show(v.Index(i)))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reflect.Struct:
		var parts []string
		for i := range v.NumField() {
			f, val := v.Type().Field(i), v.Field(i)
			text := show(val)
			switch {
			case val.IsZero() || text == noTime:
			case f.Anonymous:
				parts = append(parts, strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}"))
			default:
				parts = append(parts, f.Name+":"+text)
			}
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return fmt.Sprint(v)
}

// story is a dialogue whose answers testdata has.
type story struct {
	name    string
	dialect string
	caller  api.Caller
	asked   []step
}

type step struct {
	typ uint8
	m   message
}

// fixed is a tree whose times and versions are the same in every run.
func fixed(t *testing.T) *memfs.FS {
	return newMem(t, memfs.Options{Now: func() time.Time { return time.Unix(1000, 0).UTC() }})
}

func TestStories(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			fs := fixed(t)
			if root, err := fs.Attach(ctxOf(t), caller(""), "", nil); err != nil {
				t.Fatal(err)
			} else if err := furnish(t, root); err != nil {
				t.Fatal(err)
			}
			r := newRaw(t, serve(t, s.caller, fs, Options{}))
			var out strings.Builder
			line := func(arrow string, m message) { fmt.Fprintf(&out, "%s %s\n", arrow, text(m)) }
			first := step{tVersion, &version{Msize: 8192, Version: s.dialect}}
			for _, a := range append([]step{first}, s.asked...) {
				line("→", a.m)
				m := r.ask(1, a.typ, a.m)
				if m == nil {
					io.WriteString(&out, "← (the connection ends)\n")
					break
				}
				line("←", m)
			}
			golden(t, s.name+".txt", out.String())
		})
	}
}

// furnish makes dir, dir/file with "hello", dir/link to file, dir/ep.
func furnish(t testing.TB, root tree.File) error {
	ctx := ctxOf(t)
	dir, err := root.Create(ctx, "dir", tree.NewFile{Mode: tree.ModeDir | 0o777})
	if err != nil {
		return err
	}
	for _, n := range []tree.NewFile{{Mode: tree.ModeEndpoint | 0o777, Target: "token"}, {Mode: tree.ModeSymlink | 0o777, Target: "file"}} {
		name := "ep"
		if n.Target == "file" {
			name = "link"
		}
		if _, err := dir.Create(ctx, name, n); err != nil {
			return err
		}
	}
	_, err = dir.Put(ctx, "file", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: []byte("hello")})
	return err
}
