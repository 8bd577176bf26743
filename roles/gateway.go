package roles

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"sigmaos/api"
	"sigmaos/net/gateway"
	"sigmaos/net/realmtoken"
	"sigmaos/sigma/outside"
)

// startGateway opens the ways in for programs outside, and the addresses at which
// load-balancers deliver.
func startGateway(_ context.Context, s *System) (func(context.Context) error, error) {
	var undo undoStack
	stop := func(context.Context) error { return undo.run() }
	if s.Config.Gateway != "" {
		g, err := gateway.Listen(gateway.Config{
			Addr: s.Config.Gateway, TLS: s.Identity.Open(gateway.ALPN), Node: s.Config.Node,
			Check: s.checkToken, Handler: s.Schedd, Endpoints: s.Proxy, Logger: s.Log.With("role", "gateway"),
		})
		if err != nil {
			return nil, err
		}
		undo.add(g.Close)
		s.Schedd.SetGateway(g.Addr())
	}
	if s.Config.Gateway9P != "" {
		if err := s.start9P(&undo); err != nil {
			undo.run()
			return nil, err
		}
	}
	from, err := s.Config.Balancers()
	if err != nil {
		undo.run()
		return nil, err
	}
	for _, in := range s.Config.Ingress {
		if err := s.ingress(in, from, &undo); err != nil {
			undo.run()
			return nil, err
		}
	}
	return stop, nil
}

// checkToken says whom a realm's token makes of a client.
func (s *System) checkToken(token string) (api.Caller, error) {
	c, err := s.tokens.Check(token, time.Now())
	if err != nil {
		return api.Caller{}, err
	}
	if _, err := s.Realms.ByID(c.Realm); err != nil {
		return api.Caller{}, errors.New("the realm of this token is not there any more")
	}
	return api.Caller{Realm: c.Realm, User: c.User}, nil
}

// issueToken makes the token file of a realm's user.
func (s *System) issueToken(r api.TokenRequest) (api.TokenFile, error) {
	realm, err := s.Realms.Get(r.Realm)
	if err != nil {
		return api.TokenFile{}, err
	}
	addr := r.Gateway
	if addr == "" {
		addr = s.Schedd.Gateway()
	}
	if addr == "" {
		return api.TokenFile{}, api.E(api.Unavailable, "realm token", r.Realm, "this node has no gateway; start it with --gateway ADDR:PORT")
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil && (host == "" || host == "::" || host == "0.0.0.0") {
		addr = net.JoinHostPort(s.Config.Reachable(), port)
	}
	if r.TTL <= 0 || r.TTL > 10*365*24*time.Hour {
		return api.TokenFile{}, api.E(api.Invalid, "realm token", r.Realm, "a life of %v; want up to ten years", r.TTL)
	}
	if len(r.User) > 64 {
		return api.TokenFile{}, api.E(api.Invalid, "realm token", r.Realm, "a user's name has at most 64 bytes")
	}
	var ca []byte
	for _, c := range s.Identity.Trust().Certificates() {
		ca = append(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	f := outside.File{
		Version: 1, Cluster: s.clusterID, Gateway: addr, CA: string(ca), Realm: realm.Name, User: r.User,
		Token: s.tokens.Issue(realmClaim(realm.ID, r)),
	}
	b, err := json.MarshalIndent(f, "", "  ")
	return api.TokenFile{Text: append(b, '\n')}, err
}

func realmClaim(id string, r api.TokenRequest) realmtoken.Claim {
	return realmtoken.Claim{Realm: id, User: r.User, Expires: time.Now().Add(r.TTL)}
}

// ingress opens one address for load-balancers.
func (s *System) ingress(text string, from []netip.Prefix, undo *undoStack) error {
	addr, realm, target, err := gateway.ParseIngress(text)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	i, err := gateway.ListenIngress(gateway.IngressConfig{
		Addr: addr, From: from, Target: target, Endpoints: s.Proxy, Bring: s.Proxy.Bring, Logger: s.Log.With("role", "gateway", "ingress", addr),
		Caller: func() (api.Caller, error) {
			r, err := s.Realms.Get(realm)
			return api.Caller{Realm: r.ID, Node: s.Config.Node}, err
		},
	})
	if err != nil {
		return err
	}
	undo.add(i.Close)
	return nil
}
