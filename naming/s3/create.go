package s3

import (
	"bytes"
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// checkNew says whether S3 can have such an entry.
func checkNew(op, name string, n tree.NewFile) error {
	if err := tree.CheckName(op, name); err != nil {
		return err
	}
	switch t := n.Mode & tree.ModeType; {
	case t != tree.ModeFile && t != tree.ModeDir:
		return api.E(api.Unsupported, op, name, "there are objects and directories in a bucket, no links; make the link in the realm's root")
	case n.Lease != "":
		return api.E(api.Unsupported, op, name, "objects do not go with a lease; make the file in the realm's root")
	}
	return nil
}

func (f *file) Create(ctx context.Context, name string, n tree.NewFile) (tree.File, error) {
	c, i, err := f.prepare(ctx, "create", name, n)
	if err != nil || i != nil {
		return c, err
	}
	if n.Mode&tree.ModeType == tree.ModeDir {
		return c, c.mark(ctx, n.Exclusive)
	}
	got, err := c.store(ctx, "create", nil, &onlyNew{})
	if err = taken(err, "create", name); api.KindOf(err) == api.Exists && !n.Exclusive {
		return c, nil // somebody was faster
	}
	if err != nil {
		return nil, err
	}
	c.seen = got
	return c, nil
}

// prepare checks what can be told before an entry is made. What is there and
// may stay is returned with what is known of it.
func (f *file) prepare(ctx context.Context, op, name string, n tree.NewFile) (*file, *info, error) {
	if err := checkNew(op, name, n); err != nil {
		return nil, nil, err
	}
	dir := n.Mode&tree.ModeType == tree.ModeDir
	if f.bucket == "" {
		c, err := f.r.makeBucket(ctx, op, name, n, dir)
		return c, &info{dir: true}, err
	}
	if err := f.fits(op, name+"/"); err != nil {
		return nil, nil, err
	}
	if err := f.dir(ctx, op); err != nil {
		return nil, nil, err
	}
	c := f.child(name, info{})
	i, err := c.look(ctx, op)
	switch {
	case api.KindOf(err) == api.NotFound:
		return c, nil, nil
	case err != nil:
		return nil, nil, err
	case n.Exclusive:
		return nil, nil, api.E(api.Exists, op, name, "it exists")
	case i.dir && !dir:
		return nil, nil, api.E(api.IsDir, op, name, "it is a directory")
	case !i.dir && dir:
		return nil, nil, api.E(api.NotDir, op, name, "it is no directory")
	}
	return c, &i, nil
}

func (r *realm) makeBucket(ctx context.Context, op, name string, n tree.NewFile, dir bool) (*file, error) {
	switch {
	case !dir:
		return nil, api.E(api.Invalid, op, name, "only buckets are here; files are in one (sigmactl mkdir makes a bucket)")
	case !isBucket(name):
		return nil, api.E(api.Invalid, op, name, "a bucket's name is 3 to 63 of a-z, 0-9, - and ., and begins and ends with a letter or digit")
	}
	c := &file{r: r, bucket: name}
	err := r.small(ctx, op, name, name, func(ctx context.Context, c *sdk.Client, b *string) error {
		in := &sdk.CreateBucketInput{Bucket: b}
		if region := c.Options().Region; region != "us-east-1" {
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
		}
		_, err := c.CreateBucket(ctx, in)
		return err
	})
	if api.KindOf(err) == api.Exists && !n.Exclusive {
		err = r.lookBucket(ctx, op, name)
	}
	if err != nil {
		return nil, err
	}
	r.sawDir(name, "")
	return c, nil
}

// mark makes the empty object that keeps a directory.
func (f *file) mark(ctx context.Context, exclusive bool) error {
	key := f.key + "/"
	err := f.r.small(ctx, "create", f.bucket, f.name(), func(ctx context.Context, c *sdk.Client, b *string) error {
		_, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: b, Key: aws.String(key), Body: bytes.NewReader(nil), IfNoneMatch: aws.String("*")})
		return err
	})
	f.r.changed(f.bucket, f.key)
	if api.KindOf(taken(err, "create", f.name())) == api.Exists {
		err = nil
		if exclusive {
			err = api.E(api.Exists, "create", f.name(), "it exists")
		}
	}
	if err == nil {
		f.r.sawDir(f.bucket, key)
	}
	return err
}

// taken is Exists for a condition that did not hold because something is there.
func taken(err error, op, name string) error {
	if api.KindOf(err) == api.Conflict {
		return api.E(api.Exists, op, name, "it exists")
	}
	return err
}

// onlyNew, onlyVersion are the conditions of a write; nil is none.
type condition interface{ on(in *sdk.PutObjectInput) }

type onlyNew struct{}

func (*onlyNew) on(in *sdk.PutObjectInput) { in.IfNoneMatch = aws.String("*") }

type onlyVersion struct{ etag string }

func (c *onlyVersion) on(in *sdk.PutObjectInput) { in.IfMatch = aws.String(c.etag) }

// writeMark is the metadata with a write's id.
const writeMark = "sigma-write"

// store puts a whole object.
func (f *file) store(ctx context.Context, op string, data []byte, cond condition, id ...string) (info, error) {
	i := info{size: int64(len(data)), modified: time.Now()}
	if err := f.r.room(ctx, len(data)); err != nil {
		return i, err
	}
	err := f.r.call(ctx, op, f.bucket, f.name(), f.r.patience(len(data)), func(ctx context.Context, c *sdk.Client, b *string) error {
		in := &sdk.PutObjectInput{Bucket: b, Key: aws.String(f.key), Body: bytes.NewReader(data), ContentLength: aws.Int64(int64(len(data)))}
		if cond != nil {
			cond.on(in)
		}
		if len(id) > 0 && id[0] != "" {
			in.Metadata = map[string]string{writeMark: id[0]}
		}
		out, err := c.PutObject(ctx, in)
		if err == nil {
			i.etag = aws.ToString(out.ETag)
		}
		return err
	})
	f.r.changed(f.bucket, f.key)
	i.at, i.change = time.Now(), f.r.change(f.bucket, f.key).Load()
	return i, err
}

// room says whether the realm may write so much more.
func (r *realm) room(ctx context.Context, n int) error {
	if r.s.cfg.Room == nil || n == 0 {
		return nil
	}
	return r.s.cfg.Room(ctx, r.id, int64(n))
}

// patience is the time for a request with a body: a MiB a second at least.
func (r *realm) patience(n int) time.Duration {
	return r.s.cfg.Patience + time.Duration(n>>20)*time.Second
}

// Put writes an object in one request.
func (f *file) Put(ctx context.Context, name string, p tree.Put) (tree.Attr, error) {
	if p.Mode&tree.ModeType == 0 {
		p.Mode |= tree.ModeFile
	}
	if p.Mode&tree.ModeType != tree.ModeFile {
		return tree.Attr{}, api.E(api.Invalid, "put", name, "only files are put")
	}
	if err := f.atBucket("put", name); err != nil {
		return tree.Attr{}, err
	}
	want := p.NewFile
	want.Exclusive = false // answered below, where a second try is known
	c, old, err := f.prepare(ctx, "put", name, want)
	if err != nil {
		return tree.Attr{}, err
	}
	cond, err := conditionOf(name, p, old)
	if err != nil {
		if c.wrote(ctx, p.NoReplay, old) {
			return f.r.attr(c.bucket, c.key, *old), nil
		}
		return tree.Attr{}, err
	}
	i, err := c.store(ctx, "put", p.Data, cond, p.NoReplay)
	if api.KindOf(err) == api.Conflict && cond != nil {
		if now, herr := f.r.head(ctx, "put", c.bucket, c.key, name); herr == nil && c.wrote(ctx, p.NoReplay, &now) {
			return f.r.attr(c.bucket, c.key, now), nil
		}
		if p.Exclusive {
			err = taken(err, "put", name)
		}
	}
	if err != nil {
		return tree.Attr{}, err
	}
	c.besideWhole(ctx, i.etag, p.Data)
	return f.r.attr(c.bucket, c.key, i), nil
}

// conditionOf says under what condition p is written, or why not at all; old is
// what is there.
func conditionOf(name string, p tree.Put, old *info) (condition, error) {
	switch {
	case p.If != nil && *p.If != 0 && (old == nil || version(old.etag) != *p.If):
		return nil, api.E(api.Conflict, "put", name, "it has another version than %d; read it again", *p.If)
	case p.If != nil && *p.If == 0 && old != nil:
		return nil, api.E(api.Conflict, "put", name, "it is there")
	case old == nil && !p.Create:
		return nil, api.E(api.NotFound, "put", name, "there is no such file")
	case old != nil && p.Exclusive:
		return nil, api.E(api.Exists, "put", name, "it exists")
	case old != nil && p.Append:
		return nil, errAppend("put", name)
	case p.If != nil && *p.If != 0:
		return &onlyVersion{old.etag}, nil
	case p.Exclusive || p.Append || p.If != nil:
		return &onlyNew{}, nil
	}
	return nil, nil
}

func errAppend(op, name string) error {
	return api.E(api.Unsupported, op, name, "objects cannot be appended to; write a new object, or append in /ux and copy the file when it is whole")
}

// wrote says whether what is there was written by the write with this id, which
// was sent twice.
func (f *file) wrote(ctx context.Context, id string, there *info) bool {
	if id == "" || there == nil || f == nil {
		return false
	}
	same := false
	err := f.r.small(ctx, "put", f.bucket, f.name(), func(ctx context.Context, c *sdk.Client, b *string) error {
		out, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: aws.String(f.key)})
		if err == nil {
			same = out.Metadata[writeMark] == id && aws.ToString(out.ETag) == there.etag
		}
		return err
	})
	return err == nil && same
}
