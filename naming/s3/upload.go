package s3

import (
	"bytes"
	"context"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sigmaos/api"
)

// upload is a multipart upload under way. Its owner calls one method at a time.
type upload struct {
	f   *file
	id  *string
	ctx context.Context // of the parts; ends with the upload

	stop  context.CancelFunc
	turns chan struct{} // parts under way
	wg    sync.WaitGroup
	n     int32 // parts handed over

	mu    sync.Mutex
	parts []types.CompletedPart
	err   error
}

func (f *file) begin(ctx context.Context) (*upload, error) {
	u := &upload{f: f, turns: make(chan struct{}, PartsAtOnce)}
	err := f.r.small(ctx, "write", f.bucket, f.name(), func(ctx context.Context, c *sdk.Client, b *string) error {
		out, err := c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: b, Key: aws.String(f.key)})
		if err == nil {
			u.id = out.UploadId
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	u.ctx, u.stop = context.WithCancel(f.r.s.ctx)
	return u, nil
}

// send takes a part over with its share of the budget, and returns when it is
// under way. Of an error the owner keeps both.
func (u *upload) send(ctx context.Context, data []byte, held int64) error {
	select {
	case u.turns <- struct{}{}:
	case <-ctx.Done():
		return u.f.r.fail(ctx, "write", u.f.name(), ctx.Err())
	}
	u.mu.Lock()
	err := u.err
	u.mu.Unlock()
	if err != nil {
		<-u.turns
		return err
	}
	u.n++
	n := u.n
	u.wg.Go(func() {
		defer func() {
			u.f.r.unsent.give(held)
			<-u.turns
		}()
		if u.part(n, data) {
			u.f.r.free(data)
		}
	})
	return nil
}

// part sends one; done says that the store has taken it, and that nobody looks at data
// any more: where a store answers before it has read all, the SDK has closed the body
// by then, of which net/http reads nothing after that.
func (u *upload) part(n int32, data []byte) (done bool) {
	f := u.f
	var etag *string
	err := f.r.room(u.ctx, len(data))
	if err == nil {
		etag, err = u.sendPart(n, data)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		u.parts = append(u.parts, types.CompletedPart{ETag: etag, PartNumber: aws.Int32(n)})
	} else if u.err == nil {
		u.err = err
	}
	return err == nil
}

func (u *upload) sendPart(n int32, data []byte) (etag *string, err error) {
	f := u.f
	err = f.r.call(u.ctx, "write", f.bucket, f.name(), 3*f.r.patience(len(data)), func(ctx context.Context, c *sdk.Client, b *string) error {
		out, err := c.UploadPart(ctx, &sdk.UploadPartInput{
			Bucket: b, Key: aws.String(f.key), UploadId: u.id, PartNumber: aws.Int32(n), Body: bytes.NewReader(data), ContentLength: aws.Int64(int64(len(data))),
		})
		if err == nil {
			etag = out.ETag
		}
		return err
	})
	return etag, err
}

// copyOwn makes the object that is there, which has the etag, the first part.
func (u *upload) copyOwn(ctx context.Context, etag string, size int64) error {
	f := u.f
	if size > maxCopy {
		return api.E(api.Unsupported, "write", f.name(), "behind the %d bytes that were synced nothing more can be written: stores copy at most %d", size, int64(maxCopy))
	}
	return f.r.call(ctx, "write", f.bucket, f.name(), 9*f.r.s.cfg.Patience, func(ctx context.Context, c *sdk.Client, b *string) error {
		out, err := c.UploadPartCopy(ctx, &sdk.UploadPartCopyInput{
			Bucket: b, Key: aws.String(f.key), UploadId: u.id, PartNumber: aws.Int32(1),
			CopySource: aws.String(url.PathEscape(*b + "/" + f.key)), CopySourceIfMatch: aws.String(etag),
		})
		if err != nil {
			return err
		}
		u.n = 1
		u.parts = append(u.parts, types.CompletedPart{ETag: out.CopyPartResult.ETag, PartNumber: aws.Int32(1)})
		return nil
	})
}

// maxCopy is S3's limit of what is copied into one part.
const maxCopy = 5 << 30

// finish sends the rest and makes the object. The upload is over then, whatever
// came of it.
func (u *upload) finish(ctx context.Context, rest []byte, held int64, exclusive bool) (i info, err error) {
	if err := u.send(ctx, rest, held); err != nil {
		u.f.r.unsent.give(held)
		u.abort()
		return i, err
	}
	stop := context.AfterFunc(ctx, u.stop)
	u.wg.Wait()
	stop()
	if u.err != nil {
		err := u.err
		if ctx.Err() != nil {
			err = u.f.r.fail(ctx, "write", u.f.name(), ctx.Err())
		}
		u.abort()
		return i, err
	}
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	f := u.f
	err = f.r.call(ctx, "write", f.bucket, f.name(), 9*f.r.s.cfg.Patience, func(ctx context.Context, c *sdk.Client, b *string) error {
		in := &sdk.CompleteMultipartUploadInput{Bucket: b, Key: aws.String(f.key), UploadId: u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts}}
		if exclusive {
			in.IfNoneMatch = aws.String("*")
		}
		out, err := c.CompleteMultipartUpload(ctx, in)
		if err == nil {
			i.etag = aws.ToString(out.ETag)
		}
		return err
	})
	f.r.changed(f.bucket, f.key)
	i.modified = time.Now()
	if err != nil && api.KindOf(err) != api.Conflict {
		// Was it done, and only the answer lost? The object's parts tell.
		if i, ok := u.made(ctx); ok {
			return i, nil
		}
	}
	if err != nil {
		u.abort()
		return i, err
	}
	u.stop()
	return i, nil
}

// made says whether the object is what this upload was to make: an upload that is
// done is not there any more.
func (u *upload) made(ctx context.Context) (info, bool) {
	f, gone := u.f, false
	err := f.r.small(ctx, "write", f.bucket, f.name(), func(ctx context.Context, c *sdk.Client, b *string) error {
		_, err := c.ListParts(ctx, &sdk.ListPartsInput{Bucket: b, Key: aws.String(f.key), UploadId: u.id, MaxParts: aws.Int32(1)})
		gone = api.KindOf(f.r.fail(ctx, "write", f.name(), err)) == api.Conflict // NoSuchUpload
		return nil
	})
	if err != nil || !gone {
		return info{}, false
	}
	i, err := f.r.head(ctx, "write", f.bucket, f.key, f.name())
	return i, err == nil
}

// abort ends the upload and has the store forget its parts, without waiting for
// that.
func (u *upload) abort() {
	u.stop()
	u.wg.Wait()
	f := u.f
	f.r.s.cleanUp(func(ctx context.Context) {
		f.r.small(ctx, "write", f.bucket, f.name(), func(ctx context.Context, c *sdk.Client, b *string) error {
			_, err := c.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: b, Key: aws.String(f.key), UploadId: u.id})
			return err
		})
	})
}

// cleanUp does what nobody waits for, until the server ends.
func (s *Server) cleanUp(fn func(ctx context.Context)) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		fn(s.ctx)
	}()
}
