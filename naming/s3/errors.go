package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"syscall"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sigmaos/api"
)

// codes are what stores answer.
var codes = map[string]struct {
	kind api.Kind
	text string
}{
	"NoSuchKey":                    {api.NotFound, "there is no such object"},
	"NoSuchBucket":                 {api.NotFound, "there is no such bucket"},
	"NotFound":                     {api.NotFound, "there is no such object"},
	"NoSuchUpload":                 {api.Conflict, "the store has forgotten the upload; write it again"},
	"BucketAlreadyExists":          {api.Exists, "somebody has a bucket of this name in the store"},
	"BucketAlreadyOwnedByYou":      {api.Exists, "the bucket exists"},
	"BucketNotEmpty":               {api.NotEmpty, "the bucket has objects"},
	"DirectoryNotEmpty":            {api.NotEmpty, "the directory has entries"},
	"PreconditionFailed":           {api.Conflict, "it has changed meanwhile"},
	"ConditionalRequestConflict":   {api.Conflict, "somebody else is writing it just now"},
	"InvalidRange":                 {api.Invalid, "the range is beyond its end"},
	"KeyTooLongError":              {api.TooLarge, "the key is too long"},
	"EntityTooLarge":               {api.TooLarge, "the store takes no object of that size"},
	"InvalidBucketName":            {api.Invalid, "a bucket's name is 3 to 63 of a-z, 0-9, - and ."},
	"TooManyBuckets":               {api.Busy, "the store allows no more buckets"},
	"QuotaExceeded":                {api.Busy, "the quota in the store is used up"},
	"NotImplemented":               {api.Unsupported, "the store cannot do this"},
	"MethodNotAllowed":             {api.Unsupported, "the store does not allow this"},
	"ExistingObjectIsDirectory":    {api.IsDir, "it is a directory"},
	"ObjectParentIsFile":           {api.NotDir, "a step of the key is an object"},
	"ExistingObjectIsFile":         {api.NotDir, "an object has this name"},
	"DirectoryObjectContainsData":  {api.Invalid, "a directory has no content"},
	"InvalidAccessKeyId":           {api.Denied, refused},
	"SignatureDoesNotMatch":        {api.Denied, refused},
	"AccessDenied":                 {api.Denied, refused},
	"AllAccessDisabled":            {api.Denied, refused},
	"ExpiredToken":                 {api.Denied, refused},
	"RequestTimeTooSkewed":         {api.Unavailable, "the store's clock and this node's differ by too much"},
	"SlowDown":                     {api.Unavailable, "the store asks for fewer requests; try again later"},
	"PermanentRedirect":            {api.Unavailable, elsewhere},
	"AuthorizationHeaderMalformed": {api.Unavailable, elsewhere},
	"IllegalLocationConstraint":    {api.Unavailable, elsewhere},
}

const (
	refused   = "the store refuses the realm's key for this; an operator sets another with sigmactl realm set-s3"
	elsewhere = "the bucket is in another region than the realm's store is set to (sigmactl realm set-s3 --region)"
)

// fail turns an error of the SDK into one for callers. What went wrong on the way
// to the store is logged; callers are told no address.
func (r *realm) fail(ctx context.Context, op, subject string, err error) error {
	var known *api.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if cerr := ctx.Err(); cerr != nil {
		kind := api.Canceled
		if cerr == context.DeadlineExceeded {
			kind = api.Deadline
		}
		return api.E(kind, op, subject, "%v", cerr)
	}
	var said smithy.APIError
	var http *smithyhttp.ResponseError
	isHTTP := errors.As(err, &http)
	if errors.As(err, &said) {
		if c, ok := codes[said.ErrorCode()]; ok && !(isHTTP && http.HTTPStatusCode() >= 500 && c.kind != api.Unsupported) {
			return api.E(c.kind, op, subject, "%s", c.text)
		}
	}
	if isHTTP {
		code := ""
		if said != nil {
			code = clean(said.ErrorCode())
		}
		if e := byStatus(http.HTTPStatusCode(), op, subject, code); e != nil {
			r.s.cfg.Logger.Debug("a store's answer", "realm", r.id, "op", op, "status", http.HTTPStatusCode(), "code", code)
			return e
		}
	}
	r.s.cfg.Logger.Debug("a store does not answer", "realm", r.id, "op", op, "err", clean(err.Error()))
	return api.E(api.Unavailable, op, subject, "the realm's store does not answer: %s", why(err))
}

func byStatus(status int, op, subject, code string) error {
	switch {
	case status == http.StatusNotFound:
		return api.E(api.NotFound, op, subject, "there is no such object or bucket")
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return api.E(api.Denied, op, subject, "%s", refused)
	case status == http.StatusPreconditionFailed || status == http.StatusConflict:
		return api.E(api.Conflict, op, subject, "it has changed meanwhile (%s)", code)
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		return api.E(api.Unsupported, op, subject, "the store cannot do this (%s)", code)
	case status >= 300 && status < 400:
		return api.E(api.Unavailable, op, subject, "%s", elsewhere)
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return api.E(api.Unavailable, op, subject, "the realm's store fails with status %d %s", status, code)
	case status >= 400:
		return api.E(api.Invalid, op, subject, "the store refuses this with status %d %s", status, code)
	}
	return nil
}

// why says in a few words what is wrong with a connection.
func why(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "its time is up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused"
	case errors.Is(err, syscall.ENOENT):
		return "its socket is not there"
	}
	return "the connection fails, or what came over it is no answer"
}

// clean bounds what a store says.
func clean(s string) string {
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, s)
}
