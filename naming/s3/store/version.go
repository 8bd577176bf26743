package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// oneVersion has what is said of an object, and given of it, be of one version.
//
// The posix backend publishes a new version by a rename, whole and with its ETag,
// but it looks at an object by its path several times: the ETag of an answer may be
// that of one version, its size and bytes those of the next, and a condition on the
// ETag may have been held against the one that is not read. So the file is kept open
// around each look: as long as it is, its inode is no other file's, and a version
// that was replaced never comes back. When the path leads to it before and after,
// it has led to it all the time; else the look is repeated.
type oneVersion struct{ *posix.Posix }

// maxLooks is after how many replacements in a row a client is asked to come again.
const maxLooks = 100

// still calls look until the object at path, relative to the store's directory,
// was the same before and after; drop undoes a look that does not count.
func still[T any](path string, look func() (T, error), drop func(T)) (T, error) {
	var none T
	for range maxLooks {
		same, done, err := hold(path)
		if err != nil { // not there, or not to be opened: whatever the backend says to that
			return look()
		}
		out, err := look()
		unchanged := same()
		done()
		if unchanged {
			return out, err
		}
		if err == nil {
			drop(out)
		}
	}
	return none, s3err.GetAPIError(s3err.ErrSlowDown)
}

// hold keeps the file at path open until done; same says whether path leads to it.
func hold(path string) (same func() bool, done func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	was, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return func() bool {
		now, err := os.Stat(path)
		return err == nil && os.SameFile(was, now)
	}, func() { f.Close() }, nil
}

// pathOf is where the backend has an object; directories, and what names none, are
// not held.
func pathOf(bucket, key *string) string {
	if bucket == nil || key == nil || strings.HasSuffix(*key, "/") {
		return ""
	}
	return filepath.Join(*bucket, *key)
}

func (o oneVersion) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	return still(pathOf(in.Bucket, in.Key),
		func() (*s3.GetObjectOutput, error) { return o.Posix.GetObject(ctx, in) },
		func(out *s3.GetObjectOutput) {
			if out.Body != nil {
				out.Body.Close()
			}
		})
}

func (o oneVersion) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	return still(pathOf(in.Bucket, in.Key),
		func() (*s3.HeadObjectOutput, error) { return o.Posix.HeadObject(ctx, in) },
		func(*s3.HeadObjectOutput) {})
}

// UploadPartCopy looks at the object that it copies; a part that is copied again
// replaces what was copied before.
func (o oneVersion) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	path := ""
	if in.CopySource != nil {
		if bucket, key, version, err := backend.ParseCopySource(*in.CopySource); err == nil && version == "" {
			path = pathOf(&bucket, &key)
		}
	}
	return still(path,
		func() (s3response.CopyPartResult, error) { return o.Posix.UploadPartCopy(ctx, in) },
		func(s3response.CopyPartResult) {})
}

// ListObjectsV2 looks at each object by itself. One that went meanwhile is not
// listed.
func (o oneVersion) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	return o.Posix.ListObjectsV2Parametrized(ctx, in, func(bucket string, owner bool) backend.GetObjFunc {
		describe := o.FileToObj(bucket, owner)
		return func(key string, d fs.DirEntry) (s3response.Object, error) {
			if d.IsDir() {
				return describe(key, d)
			}
			path := filepath.Join(bucket, key)
			return still(path, func() (s3response.Object, error) {
				now, err := os.Lstat(path) // the entry may know what was there before
				if err != nil {
					return s3response.Object{}, backend.ErrSkipObj
				}
				return describe(key, fs.FileInfoToDirEntry(now))
			}, func(s3response.Object) {})
		}
	})
}
