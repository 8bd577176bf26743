package port

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/net/pki"
)

// joinTime bounds a Join whose ctx has no end: admitting takes agreement.
const joinTime = 45 * time.Second

// Join asks the node at addr to admit this one under the given name, and
// installs the certificate and trust that it gets into id. version is that of
// the wire formats that this sigmad speaks.
//
// The kind of an error says what to do about it: Denied, the token is wrong or
// of another cluster; Exists, another node has the name; Conflict, the node
// belongs to another cluster; Unsupported, the versions are too far apart; Busy,
// too many wrong tokens came from this address; Unavailable, try again or
// another address.
func Join(ctx context.Context, addr string, token pki.Token, id *pki.Identity, name string, version int) (JoinAnswer, error) {
	if token.IsZero() {
		return JoinAnswer{}, api.E(api.Invalid, "join", addr, "there is no token")
	}
	if err := pki.CheckName(name); err != nil {
		return JoinAnswer{}, err
	}
	csr, err := id.CSR()
	if err != nil {
		return JoinAnswer{}, err
	}
	me, _ := id.Peer()
	req := JoinRequest{Name: name, Version: version, CSR: csr, Cluster: me.Cluster}
	var answer JoinAnswer
	var refusal *api.Error
	c, err := dialTLS(ctx, joinTime, addr, id.Join(token, JoinALPN), func(c *tls.Conn) (err error) {
		answer, err = askToJoin(c, token, req)
		if errors.As(err, &refusal) {
			return nil
		}
		return err
	})
	if err == nil {
		c.Close()
	}
	switch {
	case refusal != nil:
		return JoinAnswer{}, api.E(refusal.Kind, "join", addr, "%s", refusal.Text)
	case err != nil:
		e := api.AsError("join", dialError(ctx, joinTime, addr, addr, JoinALPN, err))
		return JoinAnswer{}, api.E(e.Kind, "join", addr, "%s", e.Text)
	}
	return answer, accept(id, token, name, answer)
}

// askToJoin speaks the protocol. An *api.Error is the refusal.
func askToJoin(c *tls.Conn, token pki.Token, req JoinRequest) (a JoinAnswer, err error) {
	kind, nonce, err := readJoin(c, nonceSize)
	if err != nil {
		return a, err
	}
	if kind != kindHello || len(nonce) != nonceSize {
		return a, api.E(api.Unavailable, "join", "", "the other side does not speak %s", JoinALPN)
	}
	binding, err := joinBinding(c)
	if err != nil {
		return a, err
	}
	body := req.encode()
	if err := writeJoin(c, kindRequest, append(token.Prove(binding, nonce, body), body...)); err != nil {
		return a, err
	}
	kind, body, err = readJoin(c, maxAnswer)
	if errors.Is(err, io.EOF) {
		return a, io.ErrUnexpectedEOF
	}
	if err != nil {
		return a, err
	}
	switch kind {
	case kindAnswer:
		if a, err = decodeJoinAnswer(body); err != nil {
			err = api.E(api.Internal, "join", "", "the answer is malformed: %v", err)
		}
		return a, err
	case kindRefusal:
		return a, wire.DecodeError(body)
	}
	return a, api.E(api.Internal, "join", "", "an answer of kind %d", kind)
}

// accept holds the answer against what was asked and installs it.
func accept(id *pki.Identity, token pki.Token, name string, a JoinAnswer) error {
	trust, err := pki.UnmarshalTrust(a.Trust)
	if err != nil {
		return err
	}
	if !trust.Has(token.CA()) || trust.Cluster() != a.Cluster {
		return api.E(api.Internal, "join", name, "the answer does not trust the CA of the token, or names another cluster than its CA")
	}
	me, err := pki.ChainPeer(a.Chain)
	if err != nil {
		return err
	}
	if me.Name != name || me.Number != a.Number {
		return api.E(api.Internal, "join", name, "the certificate is of node %s, the answer of %s (%d)", me, name, a.Number)
	}
	return id.Install(a.Chain, a.Trust)
}
