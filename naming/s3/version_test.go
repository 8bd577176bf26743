package s3_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"sigmaos/naming/s3"
	"sigmaos/naming/s3/s3test"
)

// What the cluster's own store says of an object and gives of it is of one version,
// while others replace it: ETag, size and bytes of every answer belong together.
func TestOwnStoreTellsOneVersion(t *testing.T) {
	_, st := s3test.Start(t)
	c, name, key := s3.Connect(st), aws.String("versions"), aws.String("f")
	ctx := t.Context()
	if _, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: name}); err != nil {
		t.Fatal(err)
	}
	// Of each version another length, so that size and ETag tell which it is.
	content := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 20_000-i) }
	etags := make(map[string]int)
	for i := range 100 {
		sum := md5.Sum([]byte(content(i)))
		etags[`"`+hex.EncodeToString(sum[:])+`"`] = i
	}
	write := func(i int) error {
		_, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: name, Key: key, Body: strings.NewReader(content(i))})
		return err
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	same := func(how string, etag *string, size int64) (int, error) {
		i, ok := etags[aws.ToString(etag)]
		if !ok || size != int64(len(content(i))) {
			return i, fmt.Errorf("%s: an object of %d bytes with the ETag of version %d, which has %d", how, size, i, len(content(i)))
		}
		return i, nil
	}
	looks := map[string]func() error{
		"get": func() error {
			out, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: name, Key: key})
			if err != nil {
				return err
			}
			defer out.Body.Close()
			b, err := io.ReadAll(out.Body)
			if err != nil {
				return err
			}
			i, err := same("get", out.ETag, int64(len(b)))
			if err == nil && string(b) != content(i) {
				err = fmt.Errorf("get: the bytes of another version than %d", i)
			}
			return err
		},
		"head": func() error {
			out, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: name, Key: key})
			if err == nil {
				_, err = same("head", out.ETag, aws.ToInt64(out.ContentLength))
			}
			return err
		},
		"list": func() error {
			out, err := c.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: name})
			for _, o := range out.Contents {
				if err == nil {
					_, err = same("list", o.ETag, aws.ToInt64(o.Size))
				}
			}
			return err
		},
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for how, look := range looks {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					if n == 0 {
						t.Errorf("%s: not once meanwhile", how)
					}
					return
				default:
				}
				if err := look(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 1500 {
		if err := write(i % 100); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	wg.Wait()
}
