package s3

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// file is a place in a realm's buckets: the root (no bucket), a bucket (no key), or
// an entry of one. A key of a directory has no slash at its end here.
type file struct {
	r           *realm
	bucket, key string

	mu   sync.Mutex
	seen info // of entries; at is zero before the first look
}

var (
	_ tree.File         = (*file)(nil)
	_ tree.Getter       = (*file)(nil)
	_ tree.Lister       = (*file)(nil)
	_ tree.CreateOpener = (*file)(nil)
)

// name is the place's, for error texts.
func (f *file) name() string {
	if f.key == "" {
		return f.bucket
	}
	return f.key[strings.LastIndexByte(f.key, '/')+1:]
}

// prefix is what the keys below a directory begin with.
func (f *file) prefix() string {
	if f.key == "" {
		return ""
	}
	return f.key + "/"
}

// child is the place of an entry of f.
func (f *file) child(name string, i info) *file {
	if f.bucket == "" {
		return &file{r: f.r, bucket: name, seen: i}
	}
	return &file{r: f.r, bucket: f.bucket, key: f.prefix() + name, seen: i}
}

// look is what is at f now; what was seen a moment ago will do, unless this node
// has changed it since.
func (f *file) look(ctx context.Context, op string) (info, error) {
	if f.key == "" {
		if f.bucket == "" {
			return info{dir: true}, nil
		}
		return info{dir: true}, f.r.lookBucket(ctx, op, f.bucket)
	}
	f.mu.Lock()
	i := f.seen
	f.mu.Unlock()
	if !i.at.IsZero() && time.Since(i.at) < f.r.s.cfg.Fresh && f.r.change(f.bucket, f.key).Load() == i.change {
		return i, nil
	}
	i, err := f.r.look(ctx, op, f.bucket, f.key, f.name())
	if err == nil {
		f.mu.Lock()
		f.seen = i
		f.mu.Unlock()
	}
	return i, err
}

// dir is an error unless f is a directory that is there.
func (f *file) dir(ctx context.Context, op string) error {
	i, err := f.look(ctx, op)
	if err == nil && !i.dir {
		err = api.E(api.NotDir, op, f.name(), "it is no directory")
	}
	return err
}

func (f *file) Attr(ctx context.Context) (tree.Attr, error) {
	i, err := f.look(ctx, "stat")
	if err != nil {
		return tree.Attr{}, err
	}
	return f.r.attr(f.bucket, f.key, i), nil
}

// SetAttr can empty an object, and nothing else that would change one.
func (f *file) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	i, err := f.look(ctx, "setattr")
	if err != nil {
		return tree.Attr{}, err
	}
	switch {
	case s.Size == nil:
	case i.dir:
		return tree.Attr{}, api.E(api.IsDir, "setattr", f.name(), "a directory has no size")
	case *s.Size < 0:
		return tree.Attr{}, api.E(api.Invalid, "setattr", f.name(), "a size below zero")
	case *s.Size == 0 && i.size > 0:
		if i, err = f.store(ctx, "setattr", nil, nil); err != nil {
			return tree.Attr{}, err
		}
	case *s.Size != i.size:
		return tree.Attr{}, api.E(api.Unsupported, "setattr", f.name(), "an object is replaced whole: write it again with the size that it is to have")
	}
	a := f.r.attr(f.bucket, f.key, i)
	if s.Perm != nil && *s.Perm&tree.ModePerm != a.Mode&tree.ModePerm || s.Owner != nil && *s.Owner != a.Owner || s.Modified != nil {
		return tree.Attr{}, api.E(api.Unsupported, "setattr", f.name(), "objects have no mode, owner or time that could be set; everybody in the realm may read and write them")
	}
	return a, nil
}

func (f *file) Walk(ctx context.Context, name string) (tree.File, error) {
	if err := tree.CheckName("walk", name); err != nil {
		return nil, err
	}
	if f.bucket == "" {
		c := f.child(name, info{})
		if err := f.r.lookBucket(ctx, "walk", name); err != nil {
			return nil, err
		}
		return c, nil
	}
	if err := f.fits("walk", name); err != nil {
		return nil, err
	}
	c := f.child(name, info{})
	if f.key == Besides { // whoever reads it will see
		return c, nil
	}
	_, err := c.look(ctx, "walk")
	if api.KindOf(err) == api.NotFound { // is the way there a directory at all?
		if derr := f.dir(ctx, "walk"); derr != nil {
			err = derr
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// fits says whether a key can have so many bytes.
func (f *file) fits(op, name string) error {
	if n := len(f.prefix()) + len(name); n > maxKey {
		return api.E(api.TooLarge, op, name, "the key has %d bytes; S3's limit is %d", n, maxKey)
	}
	return nil
}

func (f *file) Remove(ctx context.Context, name string, dir bool) error {
	if err := tree.CheckName("remove", name); err != nil {
		return err
	}
	if f.bucket == "" {
		return f.r.removeBucket(ctx, name, dir)
	}
	if err := f.dir(ctx, "remove"); err != nil {
		return err
	}
	c := f.child(name, info{})
	i, err := c.look(ctx, "remove")
	switch {
	case err != nil:
		return err
	case i.dir && !dir:
		return api.E(api.IsDir, "remove", name, "it is a directory")
	case !i.dir && dir:
		return api.E(api.NotDir, "remove", name, "it is no directory")
	}
	key := c.key
	if dir {
		key += "/"
		if err := c.empty(ctx); err != nil {
			return err
		}
	}
	err = f.r.small(ctx, "remove", f.bucket, name, func(ctx context.Context, c *sdk.Client, b *string) error {
		_, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String(key)})
		return err
	})
	f.r.changed(f.bucket, c.key)
	f.r.lostEntry(f.bucket, key)
	if err == nil && !dir {
		f.r.dropBeside(f.bucket, c.key)
	}
	return err
}

// empty is an error when anything but its mark is in the directory.
func (f *file) empty(ctx context.Context) error {
	prefix, n := f.prefix(), 0
	err := f.r.small(ctx, "remove", f.bucket, f.name(), func(ctx context.Context, c *sdk.Client, b *string) error {
		out, err := c.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: b, Prefix: aws.String(prefix), MaxKeys: aws.Int32(2), Delimiter: aws.String("/")})
		if err != nil {
			return err
		}
		for _, o := range out.Contents {
			if aws.ToString(o.Key) != prefix {
				n++
			}
		}
		for _, p := range out.CommonPrefixes {
			if prefix != "" || aws.ToString(p.Prefix) != Besides+"/" {
				n++
			}
		}
		return nil
	})
	if err == nil && n > 0 {
		err = api.E(api.NotEmpty, "remove", f.name(), "the directory has entries")
	}
	return err
}

func (r *realm) removeBucket(ctx context.Context, name string, dir bool) error {
	if err := r.lookBucket(ctx, "remove", name); err != nil {
		return err
	}
	if !dir {
		return api.E(api.IsDir, "remove", name, "it is a bucket")
	}
	var err error
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		if err = (&file{r: r, bucket: name}).empty(ctx); err == nil {
			err = r.dropBesides(ctx, name)
		}
		if err != nil {
			return err
		}
		err = r.small(ctx, "remove", name, name, func(ctx context.Context, c *sdk.Client, b *string) error {
			_, err := c.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: b})
			return err
		})
		// What was beside the last object may be on its way out: nobody waited for that.
		if api.KindOf(err) != api.NotEmpty || pause > time.Second || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done(): // the next try says so
		}
	}
	r.lostEntry(name, "")
	return err
}

// Rename cannot be done in one step, nor without copying every byte.
func (f *file) Rename(_ context.Context, name string, _ tree.File, newName string) error {
	for _, n := range []string{name, newName} {
		if err := tree.CheckName("rename", n); err != nil {
			return err
		}
	}
	return api.E(api.Unsupported, "rename", name, "object stores cannot rename; copy it and remove the original (sigmactl cp -r, rm -r), or write it under its last name at once: nobody sees it before it is whole")
}

func (f *file) Watch(context.Context, uint64, func(uint64, []tree.Event) error) error {
	return api.E(api.Unsupported, "watch", f.name(), "object stores tell no changes; write a small file in the realm's root beside it and watch that")
}
