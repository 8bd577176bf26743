package s3

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"sigmaos/api"
)

// Store is where a realm's buckets are. It holds a secret: it is not to be
// logged, and does not print itself.
type Store struct {
	Endpoint  string // http(s)://HOST[:PORT], unix:PATH; "" is AWS's for Region
	Region    string // default us-east-1
	AccessKey string
	Secret    string
	Virtual   bool   // buckets are in host names, as AWS prefers, not in paths
	Prefix    string // of the realm's buckets' names in the store
}

// String hides the key.
func (s Store) String() string { return "store at " + s.Endpoint }

// GoString hides it too.
func (s Store) GoString() string { return s.String() }

// Check says whether s can be used.
func (s Store) Check() error {
	bad := func(format string, args ...any) error { return api.E(api.Invalid, "s3", s.Endpoint, format, args...) }
	if s.AccessKey == "" || s.Secret == "" {
		return bad("the store needs an access key and its secret")
	}
	if len(s.Prefix) > 40 {
		return bad("a prefix of %d bytes; bucket names have at most 63", len(s.Prefix))
	}
	for _, f := range []string{s.Endpoint, s.Region, s.AccessKey, s.Secret} {
		if len(f) > 1024 || strings.ContainsFunc(f, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return bad("a field is longer than 1024 bytes or has control characters")
		}
	}
	if p, ok := strings.CutPrefix(s.Endpoint, "unix:"); ok {
		if !strings.HasPrefix(p, "/") {
			return bad("a socket's path begins with a slash")
		}
		return nil
	}
	if s.Endpoint == "" && s.Region == "" {
		return bad("say the endpoint, or the region for AWS")
	}
	if s.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return bad("want http://HOST:PORT or https://HOST")
	}
	return nil
}

// Config of a Server. Zero values are the defaults.
type Config struct {
	// Store says where a realm's buckets are. It is asked for each operation and
	// must be quick.
	Store func(ctx context.Context, realm string) (Store, error)

	// Room says whether a realm may write so many bytes more; it is asked before
	// they are sent. nil: the store itself says so.
	Room func(ctx context.Context, realm string, bytes int64) error

	// Beside says, of an object's first bytes, what is to be kept beside it; nil:
	// nothing. See [Besides].
	Beside func(first []byte) Beside

	Requests int   // of a realm at its store at once; default 64
	Streams  int   // of a realm that read ahead; default 32
	Handles  int   // files that a realm has open; default 4,096
	Unsent   int64 // bytes that a realm has written and the store not taken; default 256 MiB
	Part     int64 // bytes of a part of an upload; default 8 MiB, S3 takes 5 MiB and more

	Patience time.Duration // for one small request, its retries included; default 20 s
	Gap      time.Duration // a write waits so long for those before it; default 5 s
	Fresh    time.Duration // what was seen of an entry is believed so long; default 1 s

	Logger *slog.Logger // default: nothing is logged
}

func def[T int | int64 | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

func (c *Config) defaults() {
	def(&c.Requests, 64)
	def(&c.Streams, 32)
	def(&c.Handles, 4096)
	def(&c.Unsent, 256<<20)
	def(&c.Part, PartSize)
	def(&c.Patience, 20*time.Second)
	def(&c.Gap, 5*time.Second)
	def(&c.Fresh, time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// PartSize is how long the parts of an upload are where Config does not say, and
// PartsAtOnce how many of one are sent at the same time.
const (
	PartSize    = 8 << 20
	PartsAtOnce = 2
)

// Limits of S3 that are told before the store is asked.
const (
	maxKey   = 1024
	maxParts = 10_000
)
