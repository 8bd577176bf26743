// Package direct moves one object between memory and a store with the AWS SDK and
// nothing of σOS around it, in a process of its own: what /s3 is measured against
// ([sigmactl bench s3]).
//
// The client is made as that of /s3 is: same signing, same checksums, same retries,
// over Go's own transport as it is (that of /s3 sends bodies in larger pieces).
package direct

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sigmaos/internal/clock"
	"sigmaos/naming/s3"
)

// ProcessName is argv[0] of the process: this program under that name is to call
// Main.
const ProcessName = "sigmad-s3direct"

// How says how the object is moved.
type How string

const (
	Get      How = "get"       // one GetObject, read as a stream
	GetParts How = "get-parts" // GetObject of a range for each part
	Put      How = "put"       // one PutObject of all, from memory
	PutParts How = "put-parts" // a multipart upload of what comes as a stream
)

// Job is one object to move. Parts and AtOnce are of those that have parts.
type Job struct {
	Store  s3.Store `json:"store"`
	Bucket string   `json:"bucket"`
	Key    string   `json:"key"`
	How    How      `json:"how"`
	Size   int64    `json:"size"`
	Part   int64    `json:"part"`
	AtOnce int      `json:"at_once"`
}

// Moved is what one took: ns of time, and of the process's CPU time.
type Moved struct {
	NS  int64 `json:"ns"`
	CPU int64 `json:"cpu_ns"`
}

// Run does a job in a new process of the program exe.
func Run(ctx context.Context, exe string, j Job) (m Moved, err error) {
	in, err := json.Marshal(j)
	if err != nil {
		return m, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Args = []string{ProcessName}
	cmd.Stdin = bytes.NewReader(in)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("the SDK in a process of its own, %s: %w: %s", j.How, err, strings.TrimSpace(said.String()))
	}
	return m, json.Unmarshal(out, &m)
}

// Main does the job that standard input says, and returns the exit status.
func Main() int {
	var j Job
	err := json.NewDecoder(os.Stdin).Decode(&j)
	if err == nil {
		// Who asked may be gone without a word, and the store may hang.
		ctx, cancel := context.WithTimeout(context.Background(), mainTime)
		defer cancel()
		var m Moved
		if m, err = j.move(ctx); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(m)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// mainTime is how long a job may take.
const mainTime = 10 * time.Minute

// piece is how much a reader or a writer of a stream takes at once.
const piece = 1 << 20

// move measures one job; a connection is there before.
func (j Job) move(ctx context.Context) (m Moved, err error) {
	o := object{Job: j, c: s3.Connect(j.Store), piece: make([]byte, piece)}
	rand.Read(o.piece)
	do := map[How]func(context.Context) error{Get: o.get, GetParts: o.getParts, Put: o.put, PutParts: o.putParts}[j.How]
	if do == nil || j.Size < 1 || j.Part < 1 || j.AtOnce < 1 {
		return m, fmt.Errorf("%q of %d bytes in parts of %d, %d at once: no such job", j.How, j.Size, j.Part, j.AtOnce)
	}
	if _, err := o.c.HeadBucket(ctx, &sdk.HeadBucketInput{Bucket: &o.Bucket}); err != nil {
		return m, err
	}
	if j.How == Put {
		o.all = bytes.Repeat(o.piece, int(j.Size/piece+1))[:j.Size]
	}
	begin, used := time.Now(), clock.CPU()
	if err := do(ctx); err != nil {
		return m, err
	}
	return Moved{int64(time.Since(begin)), int64(clock.CPU() - used)}, nil
}

type object struct {
	Job
	c     *sdk.Client
	piece []byte
	all   []byte // of Put
}

func (o *object) get(ctx context.Context) error { return o.ranged(ctx, 0, o.Size, o.piece) }

// ranged reads from off up to end, as a stream.
func (o *object) ranged(ctx context.Context, off, end int64, buf []byte) error {
	out, err := o.c.GetObject(ctx, &sdk.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, end-1))})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{out.Body}, buf)
	if err == nil && n != end-off {
		err = fmt.Errorf("%d bytes came, want %d", n, end-off)
	}
	return err
}

func (o *object) put(ctx context.Context) error {
	_, err := o.c.PutObject(ctx, &sdk.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Body: bytes.NewReader(o.all)})
	return err
}

// parts is how many there are.
func (o *object) parts() int { return int((o.Size + o.Part - 1) / o.Part) }

// span is part i of the object.
func (o *object) span(i int) (off, end int64) {
	off = int64(i) * o.Part
	return off, min(o.Size, off+o.Part)
}

// getParts reads so many parts at once; what is read is not put in order.
func (o *object) getParts(ctx context.Context) error {
	var mu sync.Mutex
	var first error
	next := 0
	var wg sync.WaitGroup
	for range o.AtOnce {
		wg.Go(func() {
			buf := make([]byte, piece)
			for {
				mu.Lock()
				i := next
				next++
				over := i >= o.parts() || first != nil
				mu.Unlock()
				if over {
					return
				}
				off, end := o.span(i)
				if err := o.ranged(ctx, off, end, buf); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// putParts collects each part from pieces, as whoever is given a stream has to,
// and sends so many at once.
func (o *object) putParts(ctx context.Context) (err error) {
	up, err := o.c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: &o.Bucket, Key: &o.Key})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			o.c.AbortMultipartUpload(context.WithoutCancel(ctx), &sdk.AbortMultipartUploadInput{Bucket: &o.Bucket, Key: &o.Key, UploadId: up.UploadId})
		}
	}()
	done := make([]types.CompletedPart, o.parts())
	errs := make(chan error, len(done))
	free := make(chan []byte, o.AtOnce)
	for range o.AtOnce {
		free <- make([]byte, 0, o.Part)
	}
	var wg sync.WaitGroup
	for i := range done {
		buf := <-free
		off, end := o.span(i)
		for off < end {
			k := min(int64(len(o.piece)), end-off)
			buf, off = append(buf, o.piece[:k]...), off+k
		}
		wg.Go(func() {
			out, err := o.c.UploadPart(ctx, &sdk.UploadPartInput{
				Bucket: &o.Bucket, Key: &o.Key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(buf),
			})
			if err == nil {
				done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.ETag}
			}
			errs <- err
			free <- buf[:0]
		})
	}
	wg.Wait()
	for range done {
		if err := <-errs; err != nil {
			return err
		}
	}
	_, err = o.c.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{
		Bucket: &o.Bucket, Key: &o.Key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	return err
}
