package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"sigmaos/api"
)

// The longest fields of an error on the wire; longer ones are cut.
var errorFields = [4]int{64, 256, 1024, 4096}

// appendError encodes kind, operation, subject and text, each as a u16 length
// and its bytes.
func appendError(b []byte, e *api.Error) []byte {
	for i, s := range [4]string{string(e.Kind), e.Op, e.Subject, e.Text} {
		s = cut(s, errorFields[i])
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

func decodeError(b []byte) (*api.Error, error) {
	var f [4]string
	for i := range f {
		if len(b) < 2 {
			return nil, broken("an error that is cut")
		}
		n := int(binary.LittleEndian.Uint16(b))
		if n > errorFields[i] || n > len(b)-2 {
			return nil, broken("an error with a field of %d bytes", n)
		}
		f[i], b = string(b[2:2+n]), b[2+n:]
	}
	if f[0] == "" || len(b) != 0 {
		return nil, broken("an error without a kind or with too many fields")
	}
	return &api.Error{Kind: api.Kind(f[0]), Op: f[1], Subject: f[2], Text: f[3]}, nil
}

// cut shortens s to n bytes, not within a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// asError is what a handler's error is on the wire.
func asError(method string, err error) *api.Error {
	var e *api.Error
	switch {
	case errors.As(err, &e) && e != nil && e.Kind != "":
		return e
	case errors.As(err, &e):
		return api.E(api.Internal, "call", method, "the handler returned an error without a kind")
	case errors.Is(err, context.DeadlineExceeded):
		return api.E(api.Deadline, "call", method, "the time ran out")
	case errors.Is(err, context.Canceled):
		return api.E(api.Canceled, "call", method, "the caller gave up")
	}
	return api.E(api.Internal, "call", method, "%v", err)
}

// ended is the error of who waited on ctx.
func ended(ctx context.Context, op, method string) *api.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return api.E(api.Deadline, op, method, "no answer within the caller's time")
	}
	return api.E(api.Canceled, op, method, "the caller gave up")
}

// lost is the error of who waited on a connection that ended because of cause.
func lost(op, method string, cause *api.Error) *api.Error {
	return api.E(api.Unavailable, op, method, "the connection ended: %s", cause.Text)
}
