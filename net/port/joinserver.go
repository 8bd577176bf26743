package port

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/net/pki"
)

// Admitter decides about nodes that have proven that they have the token. Its
// refusals are sent to the node, so they should say what to do: Exists for a
// name that another node has (one with another key), and so on.
type Admitter interface {
	Admit(ctx context.Context, r JoinRequest) (JoinAnswer, error)
}

// JoinConfig is how a node admits others.
type JoinConfig struct {
	Admitter Admitter
	// Tokens gives the tokens of this moment: one, or more during a rotation.
	Tokens  func(ctx context.Context) ([]pki.Token, error)
	Version int // of the wire formats; a node may be one older or newer
	// Delay of the answer to a wrong token, counted from the connection's
	// beginning; default 1 s. It must be less than the port's Patience.
	Delay time.Duration
	// AdmitTime bounds Admit; default 30 s.
	AdmitTime time.Duration
}

type joinServer struct {
	JoinConfig
	misses *misses
}

// ServeJoin admits nodes until stop is called.
func (p *Port) ServeJoin(cfg JoinConfig) (stop func(), err error) {
	if cfg.Delay == 0 {
		cfg.Delay = min(time.Second, p.cfg.Patience/2)
	}
	if cfg.AdmitTime == 0 {
		cfg.AdmitTime = 30 * time.Second
	}
	if cfg.Admitter == nil || cfg.Tokens == nil || cfg.Delay < 0 || cfg.Delay >= p.cfg.Patience || cfg.AdmitTime < 0 {
		return nil, api.E(api.Invalid, "serve join", "", "Admitter and Tokens must be set, and Delay (%v) be less than Patience (%v)", cfg.Delay, p.cfg.Patience)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.join != nil {
		return nil, api.E(api.Exists, "serve join", "", "it is served")
	}
	p.join = &joinServer{cfg, newMisses(p.cfg.Clock)}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.join = nil
	}, nil
}

// serve handles one stranger after the handshake.
func (s *joinServer) serve(p *Port, t *ticket, c *tls.Conn) {
	defer t.conn.Close()
	late := time.NewTimer(s.Delay)
	defer late.Stop()
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	if err := writeJoin(c, kindHello, nonce[:]); err != nil {
		return
	}
	req, err := s.prove(p, t, c, nonce[:])
	if err != nil {
		// Whatever it is, it takes as long: an answer tells nothing by its time.
		select {
		case <-late.C:
		case <-p.ctx.Done():
		}
		p.log.Warn("port: a node was not admitted", "from", t.conn.RemoteAddr(), "err", err)
		s.refuse(c, err)
		return
	}
	if !t.leave() { // it lost its place meanwhile
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, s.AdmitTime)
	defer cancel()
	t.conn.SetDeadline(time.Now().Add(s.AdmitTime + p.cfg.Patience))
	stop := context.AfterFunc(p.ctx, func() { t.conn.SetDeadline(time.Now().Add(time.Second)) })
	defer stop()
	body, err := s.admit(ctx, p, req)
	if err != nil {
		if p.ctx.Err() != nil {
			err = api.E(api.Unavailable, "join", "", "the node that was asked is stopping; ask another one")
		}
		p.log.Warn("port: a node was not admitted", "name", req.Name, "from", req.From, "err", err)
		s.refuse(c, err)
		return
	}
	if err := writeJoin(c, kindAnswer, body); err != nil {
		p.log.Warn("port: an admitted node did not hear of it", "name", req.Name, "from", req.From, "err", err)
		return
	}
	p.cfg.Logger.Info("port: admitted a node", "name", req.Name, "from", req.From)
	c.Close()
}

// prove reads the request of one who has a token of ours.
func (s *joinServer) prove(p *Port, t *ticket, c *tls.Conn, nonce []byte) (r JoinRequest, err error) {
	kind, body, err := readJoin(c, maxRequest)
	if err == nil && (kind != kindRequest || len(body) < proofSize) {
		err = api.E(api.Invalid, "join", "", "this is no request to join")
	}
	if err != nil {
		return r, err
	}
	if !s.misses.may(t.source) {
		return r, api.E(api.Busy, "join", "", "too many wrong tokens came from this address; try again in a minute")
	}
	binding, err := joinBinding(c)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Patience)
	defer cancel()
	tokens, err := s.Tokens(ctx)
	if err != nil {
		return r, api.E(api.Unavailable, "join", "", "the node that was asked cannot check tokens now; ask another one, or later")
	}
	proven := false
	for _, tok := range tokens {
		proven = tok.Proven(body[:proofSize], binding, nonce, body[proofSize:]) || proven
	}
	if !proven {
		s.misses.note(t.source)
		return r, api.E(api.Denied, "join", "", "the token is not one of this cluster any more; get a new one")
	}
	r, err = decodeJoinRequest(body[proofSize:])
	if err != nil {
		return r, api.E(api.Invalid, "join", "", "%v", err)
	}
	r.From = t.conn.RemoteAddr().String()
	return r, nil
}

// admit checks what needs no knowledge of the cluster and asks the Admitter.
func (s *joinServer) admit(ctx context.Context, p *Port, r JoinRequest) ([]byte, error) {
	if err := pki.CheckName(r.Name); err != nil {
		return nil, err
	}
	if _, err := pki.CheckCSR(r.CSR); err != nil {
		return nil, err
	}
	me, _ := p.cfg.Identity.Peer()
	switch {
	case r.Cluster != "" && r.Cluster != me.Cluster:
		return nil, api.E(api.Conflict, "join", r.Name, "the node belongs to another cluster; to move it to %s, give it an empty data directory", me.Cluster)
	case r.Version < s.Version-1:
		return nil, api.E(api.Unsupported, "join", r.Name, "it speaks version %d, this cluster %d: upgrade the node first", r.Version, s.Version)
	case r.Version > s.Version+1:
		return nil, api.E(api.Unsupported, "join", r.Name, "it speaks version %d, this cluster %d: upgrade the cluster first", r.Version, s.Version)
	}
	a, err := s.Admitter.Admit(ctx, r)
	if err != nil {
		return nil, err
	}
	return a.encode()
}

func (s *joinServer) refuse(c *tls.Conn, err error) {
	if writeJoin(c, kindRefusal, wire.EncodeError(api.AsError("join", err))) == nil {
		c.Close()
	}
}

// joinBinding ties a proof to one TLS connection: replayed on another it is
// wrong, even to a server that gives the same nonce twice.
func joinBinding(c *tls.Conn) ([]byte, error) {
	state := c.ConnectionState()
	return state.ExportKeyingMaterial("EXPORTER-sigma-join-1", nil, 32)
}
