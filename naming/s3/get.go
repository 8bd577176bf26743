package s3

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Get reads a whole object in one request, when it has no more than max bytes.
func (f *file) Get(ctx context.Context, max int) (tree.Attr, []byte, error) {
	f.mu.Lock()
	known := !f.seen.at.IsZero()
	f.mu.Unlock()
	if known { // it was walked to: a directory or a large object needs no request
		i, err := f.look(ctx, "get")
		if err != nil {
			return tree.Attr{}, nil, err
		}
		if i.dir {
			return tree.Attr{}, nil, api.E(api.IsDir, "get", f.name(), "it is a directory")
		}
		if i.size > int64(max) {
			return f.r.attr(f.bucket, f.key, i), nil, nil
		}
	}
	if f.key == "" {
		return tree.Attr{}, nil, api.E(api.IsDir, "get", f.name(), "it is a directory")
	}
	var i info
	var data []byte
	err := f.r.call(ctx, "get", f.bucket, f.name(), f.r.patience(max), func(ctx context.Context, c *sdk.Client, b *string) (err error) {
		for try := 0; try < 2; try++ { // a body that breaks off is asked for again
			var out *sdk.GetObjectOutput
			if out, err = c.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: aws.String(f.key)}); err != nil {
				return err
			}
			i = info{size: aws.ToInt64(out.ContentLength), etag: aws.ToString(out.ETag), modified: aws.ToTime(out.LastModified)}
			if i.size > int64(max) || i.size < 0 {
				out.Body.Close()
				data = nil
				return nil
			}
			data = make([]byte, i.size)
			_, err = io.ReadFull(out.Body, data)
			out.Body.Close()
			if err == nil || ctx.Err() != nil {
				return err
			}
		}
		return api.E(api.Unavailable, "get", f.name(), "the store broke off twice in the middle of its answer")
	})
	if err != nil {
		return tree.Attr{}, nil, err
	}
	return f.r.attr(f.bucket, f.key, i), data, nil
}

// ranged reads p at off of the version that is i.
func (f *file) ranged(ctx context.Context, p []byte, off int64, i info) (n int, err error) {
	err = f.r.call(ctx, "read", f.bucket, f.name(), f.r.patience(len(p)), func(ctx context.Context, c *sdk.Client, b *string) (err error) {
		for try := 0; n < len(p) && try < 3; try++ {
			var out *sdk.GetObjectOutput
			out, err = c.GetObject(ctx, f.rangeOf(b, i.etag, off+int64(n), off+int64(len(p))))
			if err != nil {
				return err
			}
			if err = f.begins(out, off+int64(n), i); err != nil {
				return err
			}
			k, _ := io.ReadFull(out.Body, p[n:]) // what is missing is asked for again
			out.Body.Close()
			n += k
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if n < len(p) {
			return api.E(api.Unavailable, "read", f.name(), "the store breaks off in the middle of its answers")
		}
		return nil
	})
	return n, f.replaced(err)
}

// replaced says what a condition that fails while reading means.
func (f *file) replaced(err error) error {
	if api.KindOf(err) == api.Conflict {
		return api.E(api.Conflict, "read", f.name(), "the object was replaced while it was read; open it again")
	}
	return err
}

// rangeOf asks for bytes from off up to end, -1: the object's end.
func (f *file) rangeOf(bucket *string, etag string, off, end int64) *sdk.GetObjectInput {
	in := &sdk.GetObjectInput{Bucket: bucket, Key: aws.String(f.key), Range: aws.String(fmt.Sprintf("bytes=%d-", off))}
	if end >= 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, end-1))
	}
	if etag != "" {
		in.IfMatch = aws.String(etag)
	}
	return in
}

// begins checks that an answer begins where it was asked to, in the version that
// is i: a server that does not know ranges sends all, one that does not know
// conditions sends another. One over a directory may look at an object's ETag and then
// open what has come in its place: size and time tell.
func (f *file) begins(out *sdk.GetObjectOutput, off int64, i info) (err error) {
	defer func() {
		if err != nil {
			out.Body.Close()
		}
	}()
	var at, end int64
	size := aws.ToInt64(out.ContentLength)
	switch _, serr := fmt.Sscanf(aws.ToString(out.ContentRange), "bytes %d-%d/%d", &at, &end, &size); {
	case serr == nil && at == off || off == 0 && out.ContentRange == nil:
	case strings.HasSuffix(aws.ToString(out.ContentRange), "/*") && at == off: // it does not say how long all is
		size = i.size
	default:
		return api.E(api.Unsupported, "read", f.name(), "the store gives no parts of objects")
	}
	got := aws.ToString(out.ETag)
	if i.etag != "" && got != "" && got != i.etag || size != i.size || out.LastModified != nil && !i.modified.IsZero() && out.LastModified.After(i.modified) {
		return api.E(api.Conflict, "read", f.name(), "it is another version")
	}
	return nil
}

// chunk is what a stream reads at once; so many are read ahead.
const (
	chunk  = 512 << 10
	chunks = 4
)

// stream is an object being read from one place on, a little ahead of its reader.
type stream struct {
	at   int64 // of the next byte that next returns
	in   chan []byte
	now  []byte // the chunk being given out, …
	rest []byte // … and what is left of it
	free chan []byte
	err  error // set before in is closed
	stop context.CancelFunc
	done chan struct{}
}

// stream begins to read the version that is i at off. It is not for longer than its
// owner, who ends it.
func (f *file) stream(ctx context.Context, off int64, i info) (*stream, error) {
	c, prefix, err := f.r.use(ctx)
	if err != nil {
		return nil, err
	}
	sctx, stop := context.WithCancel(f.r.s.ctx)
	ok := false
	defer func() {
		if !ok {
			stop()
		}
	}()
	patience := f.r.s.cfg.Patience
	timer := time.AfterFunc(patience, stop)
	gone := context.AfterFunc(ctx, stop)
	out, err := c.GetObject(sctx, f.rangeOf(aws.String(prefix+f.bucket), i.etag, off, -1))
	gone()
	if err != nil {
		if sctx.Err() != nil && ctx.Err() == nil {
			err = api.E(api.Unavailable, "read", f.name(), "the realm's store does not answer: its time is up")
		}
		return nil, f.replaced(f.r.fail(ctx, "read", f.name(), err))
	}
	if err := f.begins(out, off, i); err != nil {
		return nil, f.replaced(err)
	}
	ok = true
	s := &stream{at: off, in: make(chan []byte, chunks), free: make(chan []byte, chunks+2), stop: stop, done: make(chan struct{})}
	go s.fill(sctx, out.Body, timer, patience)
	return s, nil
}

// fill reads until the end, an error, or a pause longer than patience.
func (s *stream) fill(ctx context.Context, body io.ReadCloser, timer *time.Timer, patience time.Duration) {
	defer close(s.done)
	defer close(s.in)
	defer s.stop()
	defer timer.Stop()
	defer body.Close()
	for {
		var b []byte
		select {
		case b = <-s.free:
		default:
			b = make([]byte, chunk)
		}
		timer.Reset(patience)
		n, err := io.ReadFull(body, b)
		timer.Stop()
		if n > 0 {
			select {
			case s.in <- b[:n]:
			case <-ctx.Done():
				s.err = ctx.Err()
				return
			}
		}
		if err != nil {
			if s.err = err; err == io.ErrUnexpectedEOF && n > 0 {
				s.err = io.EOF // a last chunk that is not full, or a body that broke off: the size tells
			}
			return
		}
	}
}

// read fills p as far as the stream goes.
func (s *stream) read(ctx context.Context, p []byte) (n int, err error) {
	for n < len(p) {
		if len(s.rest) == 0 {
			select {
			case b, ok := <-s.in:
				if !ok {
					return n, s.err
				}
				s.now, s.rest = b, b
			case <-ctx.Done():
				return n, ctx.Err()
			}
		}
		k := copy(p[n:], s.rest)
		n, s.at = n+k, s.at+int64(k)
		if s.rest = s.rest[k:]; len(s.rest) == 0 {
			select {
			case s.free <- s.now[:chunk]:
			default:
			}
		}
	}
	return n, nil
}

// end stops reading and waits.
func (s *stream) end() {
	s.stop()
	<-s.done
}
