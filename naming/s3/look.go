package s3

import (
	"context"
	"errors"
	"hash/fnv"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// info is what was seen of an entry.
type info struct {
	dir      bool
	size     int64
	etag     string
	modified time.Time

	at     time.Time // of the look, and the count of changes before it
	change uint64
}

// attr describes an entry that has the key, or the bucket when that is empty.
func (r *realm) attr(bucket, key string, i info) tree.Attr {
	a := tree.Attr{ID: r.number(bucket, key), Version: 1, Mode: tree.ModeDir | 0o775, Links: 1, Modified: i.modified}
	if i.modified.IsZero() {
		a.Modified = time.Unix(0, 0)
	}
	if !i.dir {
		a.Mode, a.Size, a.Version = tree.ModeFile|0o664, i.size, version(i.etag)
	}
	return a
}

// version is a number for an object's content.
func version(etag string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(etag))
	return h.Sum64() | 1
}

// look finds an entry in the store: an object, a directory, or neither. Both are
// asked for at once.
func (r *realm) look(ctx context.Context, op, bucket, key, name string) (info, error) {
	i := info{at: time.Now(), change: r.change(bucket, key).Load()}
	if r.isDir(bucket, key+"/") {
		i.dir = true
		return i, nil
	}
	dir := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { dir <- r.lookDir(ctx, op, bucket, key+"/", name) }()
	obj, ferr := r.head(ctx, op, bucket, key, name)
	derr := <-dir
	switch {
	case derr == nil:
		i.dir = true
		return i, nil
	case api.KindOf(derr) != api.NotFound:
		return i, derr
	case ferr != nil:
		return i, ferr
	}
	i.size, i.etag, i.modified = obj.size, obj.etag, obj.modified
	return i, nil
}

// lookDir says whether anything is below prefix.
func (r *realm) lookDir(ctx context.Context, op, bucket, prefix, name string) error {
	if r.isDir(bucket, prefix) {
		return nil
	}
	n := 0
	err := r.small(ctx, op, bucket, name, func(ctx context.Context, c *sdk.Client, b *string) error {
		out, err := c.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: b, Prefix: aws.String(prefix), MaxKeys: aws.Int32(1)})
		if err == nil {
			n = len(out.Contents) + len(out.CommonPrefixes)
		}
		return err
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return api.E(api.NotFound, op, name, "there is no such file or directory")
	}
	r.sawDir(bucket, prefix)
	return nil
}

// head describes an object.
func (r *realm) head(ctx context.Context, op, bucket, key, name string) (i info, err error) {
	i.at, i.change = time.Now(), r.change(bucket, key).Load()
	err = r.small(ctx, op, bucket, name, func(ctx context.Context, c *sdk.Client, b *string) error {
		out, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: aws.String(key)})
		if err == nil {
			i.size, i.etag, i.modified = aws.ToInt64(out.ContentLength), aws.ToString(out.ETag), aws.ToTime(out.LastModified)
			return nil
		}
		// The answer to a HEAD has no body with a code in it. A server on disks says
		// 400 or 409 where a step of the key is a file.
		var http409 *smithyhttp.ResponseError
		if errors.As(err, &http409) && (http409.HTTPStatusCode() == http.StatusConflict || http409.HTTPStatusCode() == http.StatusBadRequest) {
			return api.E(api.NotFound, op, name, "there is no such file or directory")
		}
		return err
	})
	return i, err
}

// lookBucket says whether a bucket is there.
func (r *realm) lookBucket(ctx context.Context, op, bucket string) error {
	if !isBucket(bucket) {
		return api.E(api.NotFound, op, bucket, "there is no such bucket")
	}
	if r.isDir(bucket, "") {
		return nil
	}
	err := r.small(ctx, op, bucket, bucket, func(ctx context.Context, c *sdk.Client, b *string) error {
		_, err := c.HeadBucket(ctx, &sdk.HeadBucketInput{Bucket: b})
		return err
	})
	switch api.KindOf(err) {
	case "":
		r.sawDir(bucket, "")
	case api.NotFound:
		err = api.E(api.NotFound, op, bucket, "there is no such bucket; sigmactl mkdir makes one")
	}
	return err
}

// isBucket says whether a name can be a bucket's.
func isBucket(name string) bool {
	if len(name) < 1 || len(name) > 63 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		edge := i == 0 || i == len(name)-1
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || !edge && (c == '-' || c == '.')) {
			return false
		}
	}
	return true
}
