package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/naming/s3"
)

// A store may answer before it has read a part. The buffer of that part is filled with
// what follows then; of that nothing is sent as the rest of the part.
func TestAnEarlyAnswerGetsNothingOfWhatFollows(t *testing.T) {
	const part, parts = 5 << 20, 6
	letter := func(n string) byte { return 'A' + n[0] - '1' }
	var early, foreign atomic.Int64
	var reading sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Method == http.MethodPost && q.Has("uploads"):
			fmt.Fprint(w, `<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>`)
		case r.Method == http.MethodPost:
			io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, `<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><ETag>"e-6"</ETag></CompleteMultipartUploadResult>`)
		case r.Method == http.MethodPut && q.Has("partNumber"):
			reading.Add(1)
			defer reading.Done()
			c := http.NewResponseController(w)
			c.EnableFullDuplex()
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusOK)
			c.Flush()
			time.Sleep(20 * time.Millisecond) // the part after this one has its buffer
			early.Add(1)
			own := letter(q.Get("partNumber"))
			b := make([]byte, 64<<10)
			for {
				n, err := r.Body.Read(b)
				foreign.Add(int64(n - bytes.Count(b[:n], []byte{own})))
				if err != nil {
					return // cut off, most likely
				}
			}
		case r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/k"):
			w.WriteHeader(http.StatusNotFound)
		default:
			io.Copy(io.Discard, r.Body)
		}
	}))
	defer srv.Close()
	s := serve(t, s3.Store{Endpoint: srv.URL, AccessKey: "key", Secret: "secret"}, s3.Config{Part: part})
	dir := inBucket{s.FS(), "b"}
	root, err := dir.Attach(t.Context(), caller, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	h := create(t, root, "k", false)
	for i := range parts {
		if _, err := h.WriteAt(t.Context(), bytes.Repeat([]byte{'A' + byte(i)}, part), int64(i)*part); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // so that buffers come back
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	reading.Wait()
	if early.Load() < parts {
		t.Errorf("%d parts were answered before they were read, want %d", early.Load(), parts)
	}
	if n := foreign.Load(); n > 0 {
		t.Errorf("%d bytes of other parts were sent", n)
	}
}
