package port

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/pki"
)

// dialTime bounds a Dial whose ctx has no end.
const dialTime = 10 * time.Second

// Dial connects to a service of another node, as [Dial] does.
func (p *Port) Dial(ctx context.Context, addr, node, alpn string) (net.Conn, error) {
	return Dial(ctx, p.cfg.Identity, addr, node, alpn)
}

// Dial connects to the service alpn of the node at addr, and verifies that it is
// that node; with node "" it may be any of the cluster. When it returns, the
// other side knows us too and has a handler for us. The result is a *Conn.
//
// The kind of an error is Denied if one side is not who the other one wants,
// Unavailable if nobody answers or the service is not there.
func Dial(ctx context.Context, id *pki.Identity, addr, node, alpn string) (net.Conn, error) {
	if alpn == "" {
		return nil, api.E(api.Invalid, "connect", addr, "no service is named")
	}
	c, err := dialTLS(ctx, dialTime, addr, id.Client(node, alpn), func(c *tls.Conn) error {
		var b [1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return err
		}
		if b[0] == expelled {
			return ErrRemoved
		}
		if b[0] != welcome {
			return api.E(api.Unavailable, "connect", addr, "it answers with byte %d; is it of another version?", b[0])
		}
		return nil
	})
	subject := node
	if subject == "" {
		subject = addr
	}
	if errors.Is(err, ErrRemoved) {
		return nil, ErrRemoved
	}
	if err != nil {
		said := dialError(ctx, dialTime, subject, addr, alpn, err)
		if errors.Is(err, unix.ECONNREFUSED) {
			return nil, refusal{said}
		}
		return nil, said
	}
	peer, err := pki.PeerOf(c.ConnectionState())
	if err != nil {
		c.NetConn().Close()
		return nil, err
	}
	return &Conn{Conn: c, peer: peer}, nil
}

// ErrRefused is in the errors of Dial that say that nothing listens at the address:
// its machine answers, and no sigmad is there.
var ErrRefused = errors.New("nothing listens there")

// refusal is such an error.
type refusal struct{ said error }

func (r refusal) Error() string        { return r.said.Error() }
func (r refusal) Unwrap() error        { return r.said }
func (r refusal) Is(target error) bool { return target == ErrRefused }

// ErrRemoved says that the cluster has removed this node.
var ErrRemoved = api.E(api.Denied, "connect", "", "the cluster has removed this node")

// dialTLS connects, shakes hands and runs talk, all within ctx and limit.
func dialTLS(ctx context.Context, limit time.Duration, addr string, cfg *tls.Config, talk func(*tls.Conn) error) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(past) })
	c := tls.Client(raw, cfg)
	err = c.Handshake()
	if err == nil {
		err = talk(c)
	}
	if !stop() && err == nil { // the deadline is, or is about to be, spoilt
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// dialError says what was dialled and why it failed.
func dialError(ctx context.Context, limit time.Duration, subject, addr, what string, err error) error {
	text, kind := err.Error(), api.Unavailable
	var ours *api.Error
	var op *net.OpError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		kind, text = api.Canceled, "the caller gave up"
	case ctx.Err() != nil:
		kind, text = api.Deadline, "no answer within the caller's time"
	case errors.As(err, &ours):
		kind, text = ours.Kind, strings.TrimPrefix(ours.Error(), ours.Op+" "+ours.Subject+": ")
		if ours.Op == "peer" {
			text = ours.Error()
		}
	case strings.HasSuffix(text, "tls: no application protocol"):
		text = "it does not serve " + what + " (yet)"
	case strings.HasSuffix(text, "tls: bad certificate"), strings.HasSuffix(text, "tls: certificate required"):
		kind, text = api.Denied, "it refuses our certificate; its log says why"
	case strings.HasSuffix(text, "tls: first record does not look like a TLS handshake"):
		text = "it does not speak TLS: is this the port of a sigmad?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(text, "connection reset"):
		text = "it closed the connection: it is stopping, or has too many"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &op) && op.Timeout():
		text = "no answer within " + limit.String()
	case errors.As(err, &op) && op.Err != nil:
		text = op.Err.Error()
	}
	if subject != addr {
		text = "at " + addr + ": " + text
	}
	return api.E(kind, "connect", subject, "%s", text)
}
