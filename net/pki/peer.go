package pki

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strconv"
	"strings"

	"sigmaos/api"
)

// Peer is a node as its verified certificate describes it.
type Peer struct {
	Name    string
	Cluster string
	Number  uint16 // what other nodes and proc ids call it by
}

func (p Peer) String() string { return p.Name + " (" + strconv.Itoa(int(p.Number)) + ")" }

// PeerOf returns the other side of a connection whose handshake was done with
// a configuration of this package. With any other it would be a mere claim.
func PeerOf(state tls.ConnectionState) (Peer, error) {
	if !state.HandshakeComplete || len(state.PeerCertificates) == 0 {
		return Peer{}, api.E(api.Denied, "peer", "", "it has shown no certificate")
	}
	return peerOf(state.PeerCertificates[0])
}

// peerOf reads what a certificate says. Everything must be there once and agree.
func peerOf(cert *x509.Certificate) (p Peer, err error) {
	bad := func(why string) (Peer, error) {
		return Peer{}, api.E(api.Denied, "peer", quote(cert.Subject.CommonName), "its certificate %s", why)
	}
	var names, numbers int
	for _, u := range cert.URIs {
		if u.Scheme != "sigma" || p.Cluster != "" && u.Host != p.Cluster {
			return bad("names things of no or of two clusters")
		}
		p.Cluster = u.Host
		if name, ok := strings.CutPrefix(u.Path, "/node/"); ok {
			p.Name = name
			names++
		} else if s, ok := strings.CutPrefix(u.Path, "/number/"); ok {
			n, err := strconv.ParseUint(s, 10, 16)
			if err != nil || strconv.Itoa(int(n)) != s {
				return bad("has a bad node number")
			}
			p.Number = uint16(n)
			numbers++
		}
	}
	switch {
	case cert.IsCA || names != 1 || numbers != 1:
		return bad("is none of a node")
	case CheckCluster(p.Cluster) != nil || CheckName(p.Name) != nil:
		return bad("has a bad name")
	case !slices.Equal(cert.DNSNames, []string{p.Name + Suffix}):
		return bad("has a host name that is not the node's")
	}
	return p, nil
}
