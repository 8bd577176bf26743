package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Besides is a bucket's directory of what is kept beside its objects
// ([Config.Beside]). It is not listed, goes with the bucket, and is like any other
// directory to who knows its name: what is in it is a help, not the truth.
const Besides = ".sigma"

// BesideName is the name there of what is kept beside an object with that key.
func BesideName(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:16])
}

// besideHead is how many bytes of an object say whether something is kept beside
// it.
const besideHead = 4

// Beside is computed of an object's bytes while they are written.
type Beside interface {
	io.Writer
	// Sum is what is kept beside the object, which has this version.
	Sum(version uint64) []byte
}

// beside begins to compute, when it is an object of which something is kept.
func (s *Server) beside(f *file, first []byte) Beside {
	if s.cfg.Beside == nil || len(first) < besideHead || inBesides(f.key) {
		return nil
	}
	return s.cfg.Beside(first)
}

func inBesides(key string) bool {
	return key == Besides || len(key) > len(Besides) && key[:len(Besides)+1] == Besides+"/"
}

// keepBeside writes what is kept beside f, which has the etag. The object is
// there; without this it is as useful, only slower.
func (f *file) keepBeside(ctx context.Context, etag string, sum Beside) {
	if sum == nil || etag == "" {
		return
	}
	b := &file{r: f.r, bucket: f.bucket, key: Besides + "/" + BesideName(f.key)}
	if _, err := b.store(ctx, "write", sum.Sum(version(etag)), nil); err != nil {
		f.r.s.cfg.Logger.Warn("nothing is kept beside an object", "realm", f.r.id, "err", err)
		return
	}
	f.r.sawDir(f.bucket, Besides+"/")
}

// dropBeside removes what is kept beside an object that was removed; nobody waits
// for it.
func (r *realm) dropBeside(bucket, key string) {
	if r.s.cfg.Beside == nil || inBesides(key) {
		return
	}
	r.s.cleanUp(func(ctx context.Context) {
		if r.lookDir(ctx, "remove", bucket, Besides+"/", Besides) == nil {
			r.remove(ctx, bucket, Besides+"/"+BesideName(key))
		}
	})
}

// dropBesides empties the directory, for its bucket is to go.
func (r *realm) dropBesides(ctx context.Context, bucket string) error {
	if r.s.cfg.Beside == nil {
		return nil
	}
	dir, last := &file{r: r, bucket: bucket, key: Besides}, ""
	for {
		list, _, _, err := dir.keys(ctx, last, nil, tree.MaxPage)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			last = max(last, e.name)
			if err := r.remove(ctx, bucket, dir.prefix()+e.name); err != nil {
				return err
			}
		}
	}
}

func (r *realm) remove(ctx context.Context, bucket, key string) error {
	err := r.small(ctx, "remove", bucket, key, func(ctx context.Context, c *sdk.Client, b *string) error {
		_, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String(key)})
		return err
	})
	r.changed(bucket, key)
	r.lostEntry(bucket, key)
	if api.KindOf(err) == api.NotFound {
		return nil
	}
	return err
}

// besideWhole is keepBeside for an object that was written in one piece.
func (f *file) besideWhole(ctx context.Context, etag string, data []byte) {
	if sum := f.r.s.beside(f, data); sum != nil {
		if _, err := io.Copy(sum, bytes.NewReader(data)); err == nil {
			f.keepBeside(ctx, etag, sum)
		}
	}
}
