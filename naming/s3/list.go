package s3

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// entry is one of a directory.
type entry struct {
	name string
	info
}

// ReadDir lists without attributes.
func (f *file) ReadDir(ctx context.Context, after string, max int) ([]tree.Dirent, error) {
	list, _, err := f.List(ctx, after, max)
	return list, err
}

// List is ReadDir with attributes, which S3 gives with the names.
func (f *file) List(ctx context.Context, after string, max int) ([]tree.Dirent, []tree.Attr, error) {
	if max <= 0 || max > tree.MaxPage {
		max = tree.MaxPage
	}
	var list []entry
	var err error
	if f.bucket == "" {
		list, err = f.r.buckets(ctx)
		list = page(list, after, max)
	} else if err = f.dir(ctx, "readdir"); err == nil {
		list, err = f.entries(ctx, after, max)
	}
	if err != nil {
		return nil, nil, err
	}
	out, attrs := make([]tree.Dirent, 0, len(list)), make([]tree.Attr, 0, len(list))
	for _, e := range list {
		c := f.child(e.name, info{})
		a := f.r.attr(c.bucket, c.key, e.info)
		out, attrs = append(out, tree.Dirent{Name: e.name, ID: a.ID, Mode: a.Mode}), append(attrs, a)
	}
	return out, attrs, nil
}

func page(list []entry, after string, max int) []entry {
	i, found := slices.BinarySearchFunc(list, after, func(e entry, s string) int { return strings.Compare(e.name, s) })
	if found {
		i++
	}
	return list[i:min(len(list), i+max)]
}

// buckets lists those of the realm, in order.
func (r *realm) buckets(ctx context.Context) (out []entry, err error) {
	var token *string
	for range 64 { // of up to 10,000 buckets
		err = r.small(ctx, "readdir", "", "", func(ctx context.Context, c *sdk.Client, prefix *string) error {
			in := &sdk.ListBucketsInput{ContinuationToken: token}
			if *prefix != "" {
				in.Prefix = prefix
			}
			got, err := c.ListBuckets(ctx, in)
			if err != nil {
				return err
			}
			for _, b := range got.Buckets {
				if name, ok := strings.CutPrefix(aws.ToString(b.Name), *prefix); ok && isBucket(name) {
					out = append(out, entry{name, info{dir: true, modified: aws.ToTime(b.CreationDate)}})
				}
			}
			token = got.ContinuationToken
			return nil
		})
		if err != nil || aws.ToString(token) == "" {
			break
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return out, err
}

// entries lists up to max names behind after, in byte order.
//
// A store lists keys: directory "a" comes as "a/", behind "a-b", though the name "a"
// is before it. So a directory may be due whose key the store has not come to. All
// such have a name with which the last key of what was listed begins: those are
// asked for, and there are few.
func (f *file) entries(ctx context.Context, after string, max int) ([]entry, error) {
	var out []entry
	var token *string
	for {
		got, last, next, err := f.keys(ctx, after, token, max-len(out))
		if err != nil {
			return nil, err
		}
		if next != nil {
			due, err := f.due(ctx, after, last)
			if err != nil {
				return nil, err
			}
			got = append(got, due...)
		}
		out = merge(out, got)
		if next == nil || len(out) >= max {
			return out[:min(len(out), max)], nil
		}
		token = next
	}
}

// merge sorts what was listed; of an object and a directory of one name, the
// directory stays.
func merge(out, got []entry) []entry {
	out = append(out, got...)
	slices.SortStableFunc(out, func(a, b entry) int {
		if c := strings.Compare(a.name, b.name); c != 0 || a.dir == b.dir {
			return c
		} else if a.dir {
			return -1
		}
		return 1
	})
	return slices.CompactFunc(out, func(a, b entry) bool { return a.name == b.name })
}

// keys asks for one page of the store: entries with names behind after, the last
// key that was seen, without the prefix, and where the next page begins.
func (f *file) keys(ctx context.Context, after string, token *string, most int) (out []entry, last string, next *string, err error) {
	prefix := f.prefix()
	in := &sdk.ListObjectsV2Input{
		Prefix: aws.String(prefix), Delimiter: aws.String("/"), EncodingType: types.EncodingTypeUrl,
		ContinuationToken: token, MaxKeys: aws.Int32(int32(min(1000, most+2))),
	}
	if token == nil && after != "" {
		in.StartAfter = aws.String(prefix + after)
	}
	at := time.Now()
	err = f.r.small(ctx, "readdir", f.bucket, f.name(), func(ctx context.Context, c *sdk.Client, b *string) error {
		in.Bucket = b
		got, err := c.ListObjectsV2(ctx, in)
		if err != nil {
			return err
		}
		if aws.ToBool(got.IsTruncated) {
			next = got.NextContinuationToken
			if aws.ToString(next) == "" || aws.ToString(next) == aws.ToString(token) {
				return api.E(api.Unavailable, "readdir", f.name(), "the store's list does not go on")
			}
		}
		decode := func(s *string) string {
			if got.EncodingType == types.EncodingTypeUrl {
				if d, err := url.QueryUnescape(aws.ToString(s)); err == nil {
					return strings.TrimPrefix(d, prefix)
				}
			}
			return strings.TrimPrefix(aws.ToString(s), prefix)
		}
		out, last = out[:0], ""
		add := func(key string, i info) {
			last = max(last, key)
			name := strings.TrimSuffix(key, "/")
			if name > after && tree.CheckName("readdir", name) == nil && (prefix != "" || name != Besides) {
				i.at = at
				out = append(out, entry{name, i})
			}
		}
		for _, o := range got.Contents {
			switch k := decode(o.Key); {
			case k == "": // the directory's own mark
			case strings.HasSuffix(k, "/"): // some stores do not fold the mark of an empty one
				add(k, info{dir: true})
			default:
				add(k, info{size: aws.ToInt64(o.Size), etag: aws.ToString(o.ETag), modified: aws.ToTime(o.LastModified)})
			}
		}
		for _, p := range got.CommonPrefixes {
			add(decode(p.Prefix), info{dir: true})
		}
		return nil
	})
	return out, last, next, err
}

// due finds the directories whose names are before last and whose keys are behind
// it.
func (f *file) due(ctx context.Context, after, last string) (out []entry, err error) {
	for i := 1; i <= len(last); i++ {
		if i < len(last) && last[i] >= '/' {
			continue
		}
		name := last[:i]
		if name <= after || tree.CheckName("readdir", name) != nil {
			continue
		}
		switch err := f.r.lookDir(ctx, "readdir", f.bucket, f.prefix()+name+"/", name); api.KindOf(err) {
		case "":
			out = append(out, entry{name, info{dir: true}})
		case api.NotFound:
		default:
			return nil, err
		}
	}
	return out, nil
}
