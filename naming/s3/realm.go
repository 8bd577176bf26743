package s3

import (
	"context"
	"hash/fnv"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"sigmaos/api"
)

// realm is one tenant's way to its store.
type realm struct {
	s  *Server
	id string

	requests chan struct{} // one for each under way
	streams  chan struct{}
	unsent   budget
	parts    sync.Pool // *[]byte of the length of a part; the realm's own, so that none holds what was another's
	handles  atomic.Int64
	changes  [256]atomic.Uint64 // counts changes made here, by entry

	mu     sync.Mutex
	closed bool
	store  Store
	client *sdk.Client
	hops   *http.Transport
	dirs   map[string]time.Time // directories that were there, and until when that is believed
}

func newRealm(s *Server, id string) *realm {
	r := &realm{s: s, id: id, dirs: make(map[string]time.Time)}
	r.requests, r.streams = make(chan struct{}, s.cfg.Requests), make(chan struct{}, s.cfg.Streams)
	r.unsent.init(s.cfg.Unsent)
	return r
}

func (r *realm) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.hops != nil {
		r.hops.CloseIdleConnections()
	}
}

// use returns the client for the store that the realm has now, and the prefix of
// its buckets.
func (r *realm) use(ctx context.Context) (*sdk.Client, string, error) {
	st, err := r.s.cfg.Store(ctx, r.id)
	if err != nil {
		return nil, "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, "", errClosed
	}
	if r.client == nil || st != r.store {
		if r.hops != nil {
			r.hops.CloseIdleConnections()
		}
		r.store, r.hops = st, transport(st)
		r.client = connect(st, r.hops)
		clear(r.dirs)
	}
	return r.client, st.Prefix, nil
}

// Connect is the SDK's client for a store with the settings of a Server's, over Go's
// own transport as it is: what a Server is measured against.
func Connect(st Store) *sdk.Client {
	return connect(st, &http.Transport{DialContext: dialer(st), MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second})
}

func connect(st Store, t *http.Transport) *sdk.Client {
	region := st.Region
	if region == "" {
		region = "us-east-1"
	}
	o := sdk.Options{
		Region:     region,
		HTTPClient: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: st.AccessKey, SecretAccessKey: st.Secret, Source: "realm"}, nil
		}),
		UsePathStyle: !st.Virtual,
		// What stores other than AWS's do not know is not sent unasked.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = 3, 2*time.Second
		}),
	}
	if !strings.HasPrefix(st.Endpoint, "http:") { // TLS, or a socket, keeps bodies whole: they need no digest in the signature
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
	switch {
	case strings.HasPrefix(st.Endpoint, "unix:"):
		o.BaseEndpoint = aws.String("http://store.sigma")
	case st.Endpoint != "":
		o.BaseEndpoint = aws.String(strings.TrimSuffix(st.Endpoint, "/"))
	}
	return sdk.New(o)
}

// call does one request at the store, within limit, when it is the realm's turn.
// fn is given the name of the bucket in the store.
func (r *realm) call(ctx context.Context, op, bucket, subject string, limit time.Duration, fn func(ctx context.Context, c *sdk.Client, bucket *string) error) error {
	c, prefix, err := r.use(ctx)
	if err != nil {
		return err
	}
	rctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case r.requests <- struct{}{}:
		defer func() { <-r.requests }()
	case <-rctx.Done():
		if ctx.Err() != nil {
			return r.fail(ctx, op, subject, ctx.Err())
		}
		return api.E(api.Busy, op, subject, "the realm has %d requests at its store, none of which ended within %v", cap(r.requests), limit)
	}
	return r.fail(ctx, op, subject, fn(rctx, c, aws.String(prefix+bucket)))
}

// small is call with the deadline of a small request.
func (r *realm) small(ctx context.Context, op, bucket, subject string, fn func(ctx context.Context, c *sdk.Client, bucket *string) error) error {
	return r.call(ctx, op, bucket, subject, r.s.cfg.Patience, fn)
}

// number is the file's number: that of its place.
func (r *realm) number(bucket, key string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(r.id + "\x00" + bucket + "\x00" + strings.TrimSuffix(key, "/")))
	return h.Sum64() | 1
}

// changed tells that what was seen of an entry is not to be believed any more.
func (r *realm) changed(bucket, key string) { r.change(bucket, key).Add(1) }

func (r *realm) change(bucket, key string) *atomic.Uint64 {
	return &r.changes[(r.number(bucket, key)>>1)%uint64(len(r.changes))]
}

// maxDirs bounds the directories that are remembered.
const maxDirs = 8 << 10

// isDir says whether the directory was seen of late.
func (r *realm) isDir(bucket, prefix string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.dirs[bucket+"/"+prefix]
	return ok && time.Now().Before(until)
}

func (r *realm) sawDir(bucket, prefix string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.dirs) >= maxDirs {
		clear(r.dirs)
	}
	r.dirs[bucket+"/"+prefix] = time.Now().Add(5 * r.s.cfg.Fresh)
}

// lostEntry forgets the directories that may be gone with an entry.
func (r *realm) lostEntry(bucket, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := bucket + "/" + key
	delete(r.dirs, at)
	for i := strings.LastIndexByte(strings.TrimSuffix(at, "/"), '/'); i > 0; i = strings.LastIndexByte(at[:i], '/') {
		delete(r.dirs, at[:i+1])
	}
}
