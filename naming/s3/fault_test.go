package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/s3"
	"sigmaos/naming/s3/s3test"
	"sigmaos/naming/tree"
)

// between is a proxy to a real store that can be told to fail.
type between struct {
	*httptest.Server
	fail atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool] // true: it has answered
	seen atomic.Int64
}

func stand(t *testing.T, st s3.Store) (*between, s3.Store) {
	path := strings.TrimPrefix(st.Endpoint, "unix:")
	hops := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	b := &between{}
	rp := &httputil.ReverseProxy{Transport: hops, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL = &url.URL{Scheme: "http", Host: "store", Path: r.In.URL.Path, RawPath: r.In.URL.RawPath, RawQuery: r.In.URL.RawQuery}
		r.Out.Host = r.In.Host
	}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.seen.Add(1)
		if f := b.fail.Load(); f != nil && (*f)(w, r) {
			return
		}
		rp.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { b.CloseClientConnections(); b.Close(); hops.CloseIdleConnections() })
	st.Endpoint = b.URL
	return b, st
}

func (b *between) set(f func(w http.ResponseWriter, r *http.Request) bool) { b.fail.Store(&f) }

func answer(status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>m</Message></Error>`, code)
		}
		return true
	}
}

func hang(w http.ResponseWriter, r *http.Request) bool {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	return true
}

func kindIs(t *testing.T, what string, err error, want ...api.Kind) {
	t.Helper()
	for _, k := range want {
		if api.KindOf(err) == k {
			return
		}
	}
	t.Errorf("%s: kind %q (%v), want %q", what, api.KindOf(err), err, want)
}

// Each kind of broken store gives its error within the deadline, tells no address
// and no key, and works again when the store does.
func TestFAULTS_BrokenStores(t *testing.T) {
	_, real := s3test.Start(t)
	file := tree.NewFile{Mode: tree.ModeFile | 0o644}
	for _, c := range []struct {
		name string
		fail func(http.ResponseWriter, *http.Request) bool
		want api.Kind
	}{
		{"500", answer(500, "InternalError"), api.Unavailable},
		{"503", answer(503, "SlowDown"), api.Unavailable},
		{"403", answer(403, "AccessDenied"), api.Denied},
		{"a wrong key", answer(403, "InvalidAccessKeyId"), api.Denied},
		{"a wrong secret", answer(403, "SignatureDoesNotMatch"), api.Denied},
		{"400", answer(400, "Strange"), api.Invalid},
		{"another region", answer(301, "PermanentRedirect"), api.Unavailable},
		{"hangs", hang, api.Unavailable},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) bool {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
				c.Close()
			}
			return true
		}, api.Unavailable},
		{"an answer that makes no sense", func(w http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body)
			w.Write([]byte("{}"))
			return true
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, st := stand(t, real)
			s := serve(t, st, s3.Config{Patience: 2 * time.Second, Fresh: time.Nanosecond})
			// What is not to fail has more time.
			well, ctx := bucket(t, serve(t, st, s3.Config{})), t.Context()
			dir, err := inBucket{s.FS(), nameOf(t, well)}.Attach(ctx, caller, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := well.Put(ctx, "there", tree.Put{NewFile: file, Create: true, Data: []byte("text")}); err != nil {
				t.Fatal(err)
			}
			b.set(c.fail)
			begin := time.Now()
			errs := make(map[string]error)
			_, errs["list"] = dir.ReadDir(ctx, "", 10)
			_, errs["put"] = dir.Put(ctx, "new", tree.Put{NewFile: file, Create: true, Data: []byte("x")})
			errs["remove"] = dir.Remove(ctx, "there", false)
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("three operations took %v", took)
			}
			for op, err := range errs {
				if c.want == "" {
					continue // anything but a hang or a crash
				}
				if api.KindOf(err) != c.want && !(c.name == "400" && api.KindOf(err) == api.NotFound) {
					t.Errorf("%s: kind %q (%v), want %q", op, api.KindOf(err), err, c.want)
				}
				if text := fmt.Sprint(err); strings.Contains(text, "127.0.0.1") || strings.Contains(text, st.Secret) || strings.Contains(text, st.AccessKey+" ") {
					t.Errorf("%s: the error tells where or with what: %s", op, text)
				}
			}
			b.fail.Store(nil)
			if _, err := well.ReadDir(ctx, "", 10); err != nil {
				t.Errorf("when the store works again: %v", err)
			}
			if _, err := well.Put(ctx, "there", tree.Put{NewFile: file, Create: true, Data: []byte("text")}); err != nil {
				t.Errorf("when the store works again: %v", err)
			}
		})
	}
}

// Bodies that break off are asked for again from where they broke; what cannot be
// had is an error, never a short file.
func TestFAULTS_TruncatedBodies(t *testing.T) {
	_, st := s3test.Start(t)
	b, st := stand(t, st)
	s := serve(t, st, s3.Config{Patience: 2 * time.Second})
	dir := bucket(t, s)
	text := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	if _, err := dir.Put(t.Context(), "f", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: []byte(text)}); err != nil {
		t.Fatal(err)
	}
	read := func() (string, error) {
		f, err := dir.Walk(t.Context(), "f")
		if err != nil {
			return "", err
		}
		h, err := f.Open(t.Context(), tree.OpenMode{Read: true})
		if err != nil {
			return "", err
		}
		defer h.Close()
		var all []byte
		buf := make([]byte, 300_000)
		for {
			n, err := h.ReadAt(t.Context(), buf, int64(len(all)))
			all = append(all, buf[:n]...)
			if errors.Is(err, io.EOF) {
				return string(all), nil
			}
			if err != nil {
				return string(all), err
			}
		}
	}
	var left atomic.Int64
	cut := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || r.URL.RawQuery != "x-id=GetObject" || left.Add(-1) < 0 {
			return false
		}
		from := 0
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Length", strconv.Itoa(len(text)-from))
		w.Header().Set("ETag", r.Header.Get("If-Match"))
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(text)-1, len(text)))
			w.WriteHeader(http.StatusPartialContent)
		}
		io.WriteString(w, text[from:from+(len(text)-from)/2])
		panic(http.ErrAbortHandler)
	}
	b.set(cut)
	left.Store(1)
	if got, err := read(); err != nil || got != text {
		t.Errorf("with a stream cut once: %d bytes, %v; want all %d", len(got), err, len(text))
	}
	left.Store(1 << 30)
	if got, err := read(); err == nil && got != text || err != nil && !strings.HasPrefix(text, got) {
		t.Errorf("with every stream cut: %d bytes, %v", len(got), err)
	}
	left.Store(1)
	f, err := dir.Walk(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	if _, data, err := f.(tree.Getter).Get(t.Context(), 2<<20); err != nil || string(data) != text {
		t.Errorf("Get with a body cut once: %d bytes, %v", len(data), err)
	}
	left.Store(1 << 30)
	if _, data, err := f.(tree.Getter).Get(t.Context(), 2<<20); api.KindOf(err) != api.Unavailable {
		t.Errorf("Get with every body cut: %d bytes, %v; want Unavailable", len(data), err)
	}
}

// A store that takes no parts fails the write; a handle that failed cannot be
// closed as if nothing were, and nothing is seen.
func TestFAULTS_UploadFails(t *testing.T) {
	_, real := s3test.Start(t)
	for _, c := range []struct{ name, query string }{
		{"parts", "partNumber="}, {"completion", "uploadId="}, {"begin", "uploads="},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, st := stand(t, real)
			s := serve(t, st, s3.Config{Patience: 2 * time.Second, Part: 5 << 20})
			dir := bucket(t, s)
			b.set(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.RawQuery, c.query) && (c.name != "completion" || r.Method == http.MethodPost) {
					return answer(500, "InternalError")(w, r)
				}
				return false
			})
			defer b.fail.Store(nil)
			_, h, err := dir.(tree.CreateOpener).CreateOpen(t.Context(), "f", tree.NewFile{Mode: tree.ModeFile}, tree.OpenMode{Write: true})
			if err != nil {
				t.Fatal(err)
			}
			for off := int64(0); off < 12<<20 && err == nil; off += 1 << 20 {
				_, err = h.WriteAt(t.Context(), make([]byte, 1<<20), off)
			}
			cerr := h.Close()
			if api.KindOf(cerr) != api.Unavailable {
				t.Errorf("write: %v; Close: %v; want Close to fail with Unavailable", err, cerr)
			}
			_, err = dir.Walk(t.Context(), "f")
			kindIs(t, "Walk", err, api.NotFound)
		})
	}
}

// One realm's store hangs, with every request that the realm may have under way;
// another realm's operations are as quick as ever.
func TestFAULTS_OneRealmsStoreHangs(t *testing.T) {
	_, good := s3test.Start(t)
	b, bad := stand(t, good)
	s := serve(t, good, s3.Config{Patience: 10 * time.Second, Requests: 8, Store: func(_ context.Context, realm string) (s3.Store, error) {
		if realm == "sick" {
			return bad, nil
		}
		return good, nil
	}})
	dir := bucket(t, s)
	b.set(hang)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	root, err := s.FS().Attach(ctx, api.Caller{Realm: "sick"}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		wg.Go(func() { root.ReadDir(ctx, "", 10) })
	}
	for b.seen.Load() < 8 {
		time.Sleep(time.Millisecond)
	}
	for i := range 50 {
		name := fmt.Sprint("f", i)
		if _, err := dir.Put(t.Context(), name, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: []byte("x")}); err != nil {
			t.Fatalf("Put in the healthy realm: %v", err)
		}
	}
	if n := b.seen.Load(); n > 8 {
		t.Errorf("the sick realm has %d requests under way, want at most 8", n)
	}
}

// A server over a directory may hold the condition against one version and then open
// what has come in its place. Its answer bears the ETag of the first, and the size or
// time of the other: that is noticed. Before anything was read the new version is
// taken; behind that the read says that it was replaced.
func TestFAULTS_StoreLooksAtOneVersionAndOpensTheNext(t *testing.T) {
	_, real := s3test.Start(t)
	old, next := strings.Repeat("a", 2<<20), strings.Repeat("b", 2<<20)
	for _, c := range []struct {
		name, next string
		later      time.Duration // than the first version
	}{{"shorter", next[:1<<20], 0}, {"longer", next + "more", 0}, {"as long", next, 2 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			b, st := stand(t, real)
			s := serve(t, st, s3.Config{Fresh: time.Nanosecond})
			dir := bucket(t, s)
			var races atomic.Int64
			race := func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || r.Header.Get("Range") == "" || races.Add(-1) < 0 {
					return false
				}
				from, to := 0, len(c.next)-1
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
				to = min(to, len(c.next)-1)
				if from > to {
					return answer(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")(w, r)
				}
				w.Header().Set("ETag", r.Header.Get("If-Match"))
				w.Header().Set("Last-Modified", time.Now().Add(c.later).UTC().Format(http.TimeFormat))
				w.Header().Set("Content-Length", strconv.Itoa(to+1-from))
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(c.next)))
				w.WriteHeader(http.StatusPartialContent)
				io.WriteString(w, c.next[from:to+1])
				return true
			}
			open := func() tree.Handle {
				put(t, dir, "f", old)
				f, err := dir.Walk(t.Context(), "f")
				if err != nil {
					t.Fatal(err)
				}
				h, err := f.Open(t.Context(), tree.OpenMode{Read: true})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { h.Close() })
				return h
			}
			b.set(race)
			buf := make([]byte, len(c.next)+10)

			h := open()
			put(t, dir, "f", c.next)
			races.Store(1)
			if n, err := h.ReadAt(t.Context(), buf, 0); err != io.EOF || string(buf[:n]) != c.next {
				t.Errorf("the first read has %d bytes, %.5q to %.5q, %v; want all %d of the next version", n, buf[:n], buf[max(0, n-5):n], err, len(c.next))
			}
			races.Store(0)
			h = open()
			if _, err := h.ReadAt(t.Context(), buf[:1000], 500_000); err != nil {
				t.Fatal(err)
			}
			races.Store(1 << 30)
			n, err := h.ReadAt(t.Context(), buf[:1000], 100_000)
			if n != 0 || api.KindOf(err) != api.Conflict {
				t.Errorf("behind a read of the version before: %d bytes, %v; want Conflict", n, err)
			}
		})
	}
}
