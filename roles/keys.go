package roles

import (
	"context"
	"time"

	"sigmaos/naming/named"
	"sigmaos/net/pki"
)

// authorities are those of the record, the one that signs first.
func authorities(c named.Cluster) (list []*pki.Authority, trust []byte, err error) {
	var t *pki.Trust
	for _, b := range c.Authorities {
		a, err := pki.UnmarshalAuthority(b)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, a)
		if t == nil {
			t, err = pki.NewTrust(a.Certificate())
		} else {
			err = t.Add(a.Certificate())
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return list, t.Marshal(), nil
}

// certify gives this node its certificate, where it has none of the authority
// that signs now, of its name and number, for long enough.
func (s *System) certify(ctx context.Context) error {
	list, trust, err := authorities(s.record)
	if err != nil {
		return err
	}
	p, ok := s.Identity.Peer()
	if ok && p.Name == s.Config.Node && p.Number == s.nodeNum && p.Cluster == s.record.ID && time.Now().Before(s.Identity.RenewAt()) && s.Identity.SignedBy(list[0]) {
		return s.Identity.SetTrust(trust)
	}
	csr, err := s.Identity.CSR()
	if err != nil {
		return err
	}
	key, err := pki.CheckCSR(csr)
	if err != nil {
		return err
	}
	if err := named.ClaimName(ctx, s.etcd, s.Config.Node, key); err != nil {
		return err
	}
	chain, err := list[0].Sign(csr, s.Config.Node, s.nodeNum, time.Now())
	if err != nil {
		return err
	}
	return s.Identity.Install(chain, trust)
}
